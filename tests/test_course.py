"""The table of `docs/course.md` names what is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = re.findall(
    r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$",
    (ROOT / "docs" / "course.md").read_text(),
    re.MULTILINE,
)
TESTS = [name for *_, tests in ROWS for name in re.findall(r"`([^`]+)`", tests)]
PLACES = [
    name
    for _, _, places, _ in ROWS
    for name in re.findall(r"`((?:localserve|benchmarks)/[^`]+)`", places)
]


def test_every_chapter_has_a_place_and_tests() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, 19))
    for _, chapter, places, tests in ROWS:
        assert re.search(r"`(localserve|benchmarks)/", places), chapter
        assert tests.count("::") >= 1, chapter


@pytest.mark.parametrize("name", TESTS)
def test_every_test_that_is_named_exists(name: str) -> None:
    file, _, test = name.partition("::")
    module = ast.parse((ROOT / "tests" / file).read_text())
    defined = [
        one.name for one in module.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert test in defined


@pytest.mark.parametrize("name", sorted(set(PLACES)))
def test_every_place_that_is_named_exists(name: str) -> None:
    assert (ROOT / name).exists()
