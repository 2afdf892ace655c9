"""The score of the schema suite. Run as `python -m tests.prompting.grammar.score`.

Prints what went wrong by schema, and last `schemas: P of N kept to, Q of M instances, R of S
answers`: instances are judged as the suite says, answers are written blindly and judged by the
package jsonschema.
"""

from __future__ import annotations

import asyncio
import copy
import json
import re
import sys
from dataclasses import dataclass, field

import jsonschema

from localserve.chat import JsonShape
from localserve.engine.constraint import MakeConstraint
from localserve.errors import LocalserveError
from localserve.prompting.grammar.compiler import GrammarCompiler
from localserve.prompting.grammar.shapes import grammar_of_shape
from tests.prompting.grammar.byte_table import ByteTable, follows, write
from tests.prompting.grammar.schema_suite import CASES, Case

WRITTEN = 12
"""Answers that are written blindly for each schema."""

FORMATS = copy.deepcopy(jsonschema.Draft202012Validator.FORMAT_CHECKER)
"""Those of jsonschema, but for times: what it asks there, where that is installed, takes neither a
second 60 nor a small z, which RFC 3339 has (section 5.6)."""

_TIME = r"([01]\d|2[0-3]):[0-5]\d:([0-5]\d|60)(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)"


@FORMATS.checks("time")
def _is_time(instance: object) -> bool:
    return not isinstance(instance, str) or re.fullmatch(_TIME, instance) is not None


@FORMATS.checks("date-time")
def _is_date_time(instance: object) -> bool:
    if not isinstance(instance, str):
        return True
    day, letter, time = instance[:10], instance[10:11], instance[11:]
    return letter in "Tt " and _is_time(time) and FORMATS.conforms(day, "date")


@dataclass(slots=True)
class Score:
    """What was judged rightly, of what was judged; and what was not."""

    instances: int = 0
    answers: int = 0
    wrong: list[str] = field(default_factory=list)


async def score(case: Case, table: ByteTable, compiler: GrammarCompiler) -> Score:
    """Judge all instances of a case, and answers that are written by its schema."""
    found = Score()
    try:
        make = await compiler.compile(grammar_of_shape(JsonShape(json.dumps(case.schema))))
    except LocalserveError as failure:
        found.wrong.append(f"is refused: {failure}")
        return found
    for texts, allowed in ((case.valid, True), (case.invalid, False)):
        for text in texts:
            if follows(make(), table.tokens(text)) == allowed:
                found.instances += 1
            else:
                found.wrong.append(f"{text} is {'refused' if allowed else 'accepted'}")
    for seed in range(WRITTEN):
        problem = _problem(case, make, table, seed)
        found.answers += problem is None
        found.wrong += [problem] if problem is not None else []
    return found


def _problem(case: Case, make: MakeConstraint, table: ByteTable, seed: int) -> str | None:
    """What is wrong with an answer, if anything is."""
    judge = jsonschema.Draft202012Validator(case.schema, format_checker=FORMATS)
    try:
        text = table.text(write(make(), table, seed))
        judge.validate(json.loads(text))
    except (AssertionError, ValueError, jsonschema.ValidationError) as failure:
        return f"answer {seed}: {failure}"
    return None


async def main() -> int:
    """Print the score; 1 where anything is wrong."""
    table = ByteTable()
    compiler = GrammarCompiler(table)
    scores = [await score(case, table, compiler) for case in CASES]
    compiler.close()
    for case, found in zip(CASES, scores, strict=True):
        for wrong in found.wrong:
            print(f"{case.name}: {wrong}")
    instances = sum(len(case.valid) + len(case.invalid) for case in CASES)
    print(
        f"schemas: {sum(not found.wrong for found in scores)} of {len(CASES)} kept to,"
        f" {sum(found.instances for found in scores)} of {instances} instances,"
        f" {sum(found.answers for found in scores)} of {WRITTEN * len(CASES)} answers"
    )
    return 1 if any(found.wrong for found in scores) else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
