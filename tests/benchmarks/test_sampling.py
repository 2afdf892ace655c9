"""The benchmark of choosing a token measures two samplers that do the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.ratios import Goal
from benchmarks.sampling import CASES, PEER, Case, Context, Pair, rows
from benchmarks.servers import OURS
from localserve.llama.sampling.weights import Workspace

ROOT = Path(__file__).parent.parent.parent
VOCABULARY = 2_048


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    opened = Context(VOCABULARY)
    yield opened
    opened.close()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_both_choose_the_same_tokens(case: Case, context: Context) -> None:
    pair = Pair(case, context, Workspace(VOCABULARY))
    for row in rows(VOCABULARY).values():
        context.row[:] = row
        for _ in range(10):
            assert pair.ours().token == pair.theirs()
    pair.close()


def test_the_program_prints_every_case_on_every_row_and_what_it_may_take() -> None:
    command = [sys.executable, "-m", "benchmarks.sampling", "--runs", "1", "--json"]
    command += ["--vocabulary", str(VOCABULARY)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    document = json.loads(done.stdout)
    assert len(document["figures"]) == len(CASES) * len(rows(VOCABULARY))
    assert {len(figure["samples"]) for figure in document["figures"]} == {2}
    assert all(figure["samples"][OURS][0] > 0 for figure in document["figures"])
    assert {ratio["against"] for ratio in document["ratios"]} == {PEER}
    assert sum(ratio["goal"] is not None for ratio in document["ratios"]) == 3 * 4
    assert "≤ 0.067" in done.stderr


@pytest.mark.parametrize(
    ("bound", "text"), [(0.98, "≤ 0.98"), (0.1, "≤ 0.10"), (1 / 15, "≤ 0.067")]
)
def test_goals_show_enough_digits(bound: float, text: str) -> None:
    assert str(Goal(bound, at_most=True)) == text
