"""What a mask costs: the tokens that a grammar allows next, of a whole vocabulary.

Run as `python -m benchmarks.masks`. Answers are written blindly within each grammar; at every token
the mask is computed and put on a row of logits, as the engine does where a sampled token is
refused, and the usual way is measured too: one token is asked about and accepted. Microseconds on
one thread; each of a model's answers pays the usual way for each token, and a mask only now and
then.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median, quantiles
from time import perf_counter
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.vocabulary import build_vocabulary, byte_letters
from localserve.chat import GrammarShape, JsonShape, RegexShape, Shape
from localserve.engine.constraint import Constraint
from localserve.prompting.grammar.compiler import GrammarCompiler
from localserve.prompting.grammar.shapes import grammar_of_shape

VOCABULARY = 151_936
TOKENS = 400
"""Masks that are measured for each grammar."""

_PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer", "minimum": 0, "maximum": 150},
        "role": {"enum": ["admin", "user", "guest"]},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 20}, "maxItems": 5},
    },
    "required": ["name", "age", "role", "tags"],
    "additionalProperties": False,
}
SHAPES: dict[str, Shape] = {
    "any JSON object": JsonShape('{"type": "object"}'),
    "a person": JsonShape(json.dumps(_PERSON)),
    "people, by reference": JsonShape(
        json.dumps(
            {
                "$defs": {"person": _PERSON},
                "type": "array",
                "items": {"$ref": "#/$defs/person"},
                "minItems": 2,
            }
        )
    ),
    "a pattern": RegexShape(r"[A-Z][a-z]+( [A-Z][a-z]+){0,3}, [0-9]{4}-[0-9]{2}-[0-9]{2}"),
    "arithmetic (Lark)": GrammarShape(
        'start: sum\nsum: product (("+" | "-") product)*\nproduct: atom (("*" | "/") atom)*\n'
        'atom: /[0-9]+/ | "(" sum ")"\n'
    ),
}


class MadeUpTable:
    """The made-up vocabulary of the benchmarks' models, as grammars need it."""

    def __init__(self, size: int) -> None:
        vocabulary = build_vocabulary(size)
        byte_of = {letter: byte for byte, letter in enumerate(byte_letters())}
        ordinary = vocabulary.tokens[: vocabulary.ordinary]
        self._bytes = [bytes(byte_of[letter] for letter in token) for token in ordinary]
        self._bytes += [token.encode() for token in vocabulary.tokens[vocabulary.ordinary :]]
        self._ordinary = vocabulary.ordinary
        self.size = size
        self.ends: Sequence[int] = [
            vocabulary.id_of("<|endoftext|>"),
            vocabulary.id_of("<|im_end|>"),
        ]

    def spelling(self, token: int) -> bytes:
        return self._bytes[token]

    def is_text(self, token: int) -> bool:
        return token < self._ordinary


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of one grammar: to compile it, and of each token."""

    name: str
    compile_us: float
    mask_us: tuple[float, ...]
    accept_us: tuple[float, ...]


async def measure(name: str, shape: Shape, compiler: GrammarCompiler, tokens: int) -> Cost:
    """Compile the grammar and write so many tokens by it."""
    began = perf_counter()
    make = await compiler.compile(grammar_of_shape(shape))
    compile_us = (perf_counter() - began) * 1e6
    rng = random.Random(0)
    masks: list[float] = []
    accepts: list[float] = []
    constraint = make()
    row = np.zeros(VOCABULARY, dtype=np.float32)
    while len(masks) < tokens:
        row.fill(0.0)
        masks.append(_timed(partial(constraint.restrict, row)))
        token = int(rng.choice(np.flatnonzero(row == 0.0)))
        accepts.append(_timed(partial(_take, constraint, token)))
        if constraint.complete or token >= VOCABULARY - 9:
            constraint = make()
    return Cost(name, compile_us, tuple(masks), tuple(accepts))


def _take(constraint: Constraint, token: int) -> None:
    if constraint.allows(token):
        constraint.accept(token)


def _timed(work: Callable[[], None]) -> float:
    began = perf_counter()
    work()
    return (perf_counter() - began) * 1e6


def p99(values: Sequence[float]) -> float:
    """The value that one of a hundred exceeds."""
    return quantiles(values, n=100)[98]


def table(costs: Sequence[Cost], tokenizer_seconds: float) -> Table:
    """The figures as people read them."""
    shown = Table(
        title=f"{VOCABULARY:,} tokens; the vocabulary took {tokenizer_seconds:.1f} s, once"
    )
    for heading in ("grammar", "compile ms", "mask us", "p99", "accept us", "p99"):
        shown.add_column(heading, justify="left" if heading == "grammar" else "right")
    for cost in costs:
        shown.add_row(
            cost.name,
            f"{cost.compile_us / 1e3:.1f}",
            f"{median(cost.mask_us):.0f}",
            f"{p99(cost.mask_us):.0f}",
            f"{median(cost.accept_us):.1f}",
            f"{p99(cost.accept_us):.1f}",
        )
    return shown


async def measure_all(tokens: int) -> tuple[list[Cost], float]:
    """All grammars, and the seconds that the vocabulary took."""
    compiler = GrammarCompiler(MadeUpTable(VOCABULARY))
    began = perf_counter()
    await compiler.compile(grammar_of_shape(RegexShape("a")))
    seconds = perf_counter() - began
    costs = [await measure(name, shape, compiler, tokens) for name, shape in SHAPES.items()]
    compiler.close()
    return costs, seconds


def main(
    tokens: Annotated[int, typer.Option(min=2, help="Masks to measure for each grammar.")] = TOKENS,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure what masks cost. Example: python -m benchmarks.masks --tokens 400"""
    costs, seconds = asyncio.run(measure_all(tokens))
    if as_json:
        figures = {
            cost.name: {
                "compile_ms": cost.compile_us / 1e3,
                "mask_us": {"median": median(cost.mask_us), "p99": p99(cost.mask_us)},
                "accept_us": {"median": median(cost.accept_us), "p99": p99(cost.accept_us)},
            }
            for cost in costs
        }
        print(json.dumps({"vocabulary_seconds": seconds, "grammars": figures}, indent=1))
    else:
        Console().print(table(costs, seconds))


if __name__ == "__main__":
    typer.run(main)
