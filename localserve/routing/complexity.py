"""How hard a request looks, from 0 (a greeting) to 1: a sum of what can be seen without a model.

    length       0.25  tokens of what is asked last; 16 count nothing, 1024 all
    context      0.10  tokens of everything else that is sent; 256 count nothing, 16384 all
    turns        0.10  of the user; one counts nothing, 8 all
    tools        0.15  half of it for the first, all for 8
    code         0.20  fenced code or lines that look like it; a third of it for an inline piece
    demand       0.35  words that ask for thought (prove, design, compare, debug, why ...); the
                       first counts 0.2
    parts        0.15  what is asked for at once: question marks, list items; three count all
    output       0.10  answers of over 1024 tokens asked for

The sum is cut at 1. What a small model answers well ("What is the capital of France?") stays below
0.25, which `SMALL` names; sixty labelled requests hold that. Only what the user said last is
searched for words, and of that the first and the last 4,000 characters, line by line: whoever
asks may send anything. Pure.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from localserve.chat import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    InfillRequest,
    RerankRequest,
)

SMALL: Final = 0.25
"""Requests below are such as a small model answers well."""

MOST_CHARACTERS: Final = 4_000
BYTES_PER_TOKEN: Final = 4
"""Of English text; what is counted with it is a guess."""


@dataclass(frozen=True, slots=True)
class Features:
    """What is seen of a request. `asked` is what is asked last, `other_tokens` guesses the rest."""

    asked: str
    other_tokens: int = 0
    turns: int = 1
    tools: int = 0
    max_tokens: int | None = None

    @property
    def prompt_tokens(self) -> int:
        """A guess at all of the prompt."""
        return guess_tokens(self.asked) + self.other_tokens


@dataclass(frozen=True, slots=True)
class Complexity:
    """A score and what it consists of, by the names above."""

    score: float
    parts: Mapping[str, float]


_DEMANDS = re.compile(
    r"\b(prove|proof|derive|deriv\w+|design|architect\w*|analy[sz]\w*|compar\w+|contrast|evaluat\w+"
    r"|optimi[sz]\w*|refactor\w*|debug\w*|implement\w*|investigat\w+|diagnos\w+|critique|assess"
    r"|trade-?offs?|step[ -]by[ -]step|in (?:detail|depth)|think (?:hard|carefully)|reason(?:ing)?"
    r"|plan|strategy|why|complexity|algorithm\w*|theorem|integral|concurren\w+|deadlock\w*"
    r"|race condition|migrat\w+|essay|review|estimate how)\b",
    re.IGNORECASE,
)
_FENCED = re.compile(r"```|~~~")
_CODE_BEGINS: Final = (
    "def ",
    "class ",
    "import ",
    "function ",
    "const ",
    "let ",
    "var ",
    "public ",
    "private ",
    "#include",
    "fn ",
    "func ",
    "SELECT ",
    "CREATE TABLE ",
    "}",
    "$ ",
    "Traceback ",
)
_CODE_ENDS: Final = (";", "{")
_INLINE_CODE = re.compile(r"`[^`\n]+`|\w\(\)|\b\w+\.(?:py|js|ts|rs|go|c|cpp|java|sql|sh)\b")
_LIST_ITEM = re.compile(r"(?:[-*]|\d{1,3}[.)]|[a-z]\)) +\S")


def features_of(request: object) -> Features:
    """What is seen of a request of the chat vocabulary; nothing of any other question."""
    match request:
        case ChatRequest(messages=messages, tools=tools):
            said = [one.content or "" for one in messages if one.role == "user"]
            total = sum(guess_tokens(one.content or "") for one in messages)
            total += sum(guess_tokens(f"{tool.description}{tool.parameters}") for tool in tools)
            asked = said[-1] if said else ""
            other = max(0, total - guess_tokens(asked))
            most = request.generation.max_tokens
            return Features(asked, other, max(1, len(said)), len(tools), most)
        case CompletionRequest(prompts=prompts):
            text = "\n".join(one for one in prompts if isinstance(one, str))
            ids = sum(guess_prompt(one) for one in prompts if not isinstance(one, str))
            return Features(text, ids, max_tokens=request.generation.max_tokens)
        case InfillRequest():
            extra = sum(guess_tokens(one.text) for one in request.extra)
            asked = request.prefix + request.suffix
            return Features(asked, extra, max_tokens=request.generation.max_tokens)
        case EmbeddingRequest(inputs=inputs):
            longest = max((guess_prompt(one) for one in inputs), default=0)
            return Features("", longest)
        case RerankRequest(query=query, documents=documents):
            return Features(query, max(map(guess_tokens, documents), default=0))
        case _:
            return Features("")


def guess_prompt(prompt: str | tuple[int | str, ...]) -> int:
    """A guess at the tokens of text, ids or both."""
    if isinstance(prompt, str):
        return guess_tokens(prompt)
    return sum(1 if isinstance(part, int) else guess_tokens(part) for part in prompt)


def guess_tokens(text: str) -> int:
    """A guess at the tokens of a text."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "replace"))
    return (size + BYTES_PER_TOKEN - 1) // BYTES_PER_TOKEN


def complexity(features: Features) -> Complexity:
    """The score, as the head of this module says."""
    text = features.asked
    if len(text) > 2 * MOST_CHARACTERS:
        text = text[:MOST_CHARACTERS] + text[-MOST_CHARACTERS:]
    demands = len({found.casefold() for found in _DEMANDS.findall(text)})
    lines = [line.strip() for line in text.splitlines()]
    pieces = text.count("?") + sum(_LIST_ITEM.match(line) is not None for line in lines)
    parts = {
        "length": 0.25 * _between(guess_tokens(features.asked), 16, 1024),
        "context": 0.10 * _between(features.other_tokens, 256, 16384),
        "turns": 0.10 * _between(features.turns, 1, 8),
        "tools": 0.15 * (0.5 + 0.5 * _between(features.tools, 1, 8)) if features.tools else 0.0,
        "code": 0.20 * _code(text, lines),
        "demand": min(0.35, 0.05 + 0.15 * demands) if demands else 0.0,
        "parts": 0.15 * min(1.0, max(0, pieces - 1) / 2),
        "output": 0.10 if (features.max_tokens or 0) > 1024 else 0.0,
    }
    return Complexity(min(1.0, sum(parts.values())), parts)


def _code(text: str, lines: Sequence[str]) -> float:
    alike = sum(line.startswith(_CODE_BEGINS) or line.endswith(_CODE_ENDS) for line in lines)
    if _FENCED.search(text) or alike > 1:
        return 1.0
    return 1 / 3 if _INLINE_CODE.search(text) else 0.0


def _between(value: float, nothing: float, everything: float) -> float:
    """0 up to `nothing`, 1 from `everything` on, by the logarithm between."""
    if value <= nothing:
        return 0.0
    return min(1.0, math.log(value / nothing) / math.log(everything / nothing))
