"""What schemas allow is accepted, what they forbid is refused, and what is written fits them."""

from __future__ import annotations

import json

import jsonschema
import pytest

from localserve.chat import JsonShape
from localserve.engine.constraint import Constraint, MakeConstraint
from localserve.prompting.grammar.compiler import GrammarCompiler
from localserve.prompting.grammar.shapes import grammar_of_shape
from tests.prompting.grammar.byte_table import ByteTable, follows, write
from tests.prompting.grammar.schema_suite import CASES, Case

WRITTEN = 12
"""Answers that are written blindly for each schema."""

TABLE = ByteTable()


@pytest.fixture(scope="module")
def compiler() -> GrammarCompiler:
    return GrammarCompiler(TABLE)


async def compiled(compiler: GrammarCompiler, case: Case) -> MakeConstraint:
    return await compiler.compile(grammar_of_shape(JsonShape(json.dumps(case.schema))))


def accepts(constraint: Constraint, text: str) -> bool:
    return follows(constraint, TABLE.tokens(text))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
async def test_a_schema_is_kept_to(case: Case, compiler: GrammarCompiler) -> None:
    make = await compiled(compiler, case)
    for text in case.valid:
        assert accepts(make(), text), f"{text} is refused"
    for text in case.invalid:
        assert not accepts(make(), text), f"{text} is accepted"
    judge = jsonschema.Draft202012Validator(
        case.schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )
    for seed in range(WRITTEN):
        judge.validate(json.loads(TABLE.text(write(make(), TABLE, seed))))


def test_the_suite_itself_is_right() -> None:
    for case in CASES:
        judge = jsonschema.Draft202012Validator(case.schema)
        assert all(judge.is_valid(json.loads(text)) for text in case.valid), case.name
    assert len({case.name for case in CASES}) == len(CASES) >= 80
