"""What schemas allow is accepted, what they forbid is refused, and what is written fits them."""

from __future__ import annotations

import json

import jsonschema
import pytest

from localserve.prompting.grammar.compiler import GrammarCompiler
from tests.prompting.grammar.byte_table import ByteTable
from tests.prompting.grammar.schema_suite import CASES, Case
from tests.prompting.grammar.score import WRITTEN, score

TABLE = ByteTable()


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    return GrammarCompiler(TABLE)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_schema_is_kept_to(case: Case, compiler: GrammarCompiler) -> None:
    found = await score(case, TABLE, compiler)
    assert not found.wrong
    assert (found.instances, found.answers) == (len(case.valid) + len(case.invalid), WRITTEN)


def test_the_suite_itself_is_right() -> None:
    for case in CASES:
        judge = jsonschema.Draft202012Validator(case.schema)
        assert all(judge.is_valid(json.loads(text)) for text in case.valid), case.name
    assert len({case.name for case in CASES}) == len(CASES) >= 80
