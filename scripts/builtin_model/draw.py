"""The sample of the built-in model's training, and drawn words and phrases for it."""

# ruff: noqa: SIM905 - word lists read better as text

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from typing import Any

from builtin_model import words

Message = dict[str, Any]

ANY_WORD = re.compile(r"[A-Za-z]+")


@dataclass
class Sample:
    """One training conversation.

    A sample without chat markup has its prompt in ``raw``, or in ``parts`` texts that are given
    and texts that are to be learned in turns. With a seed in ``broken``, some of its words are
    spelled in smaller tokens, alike in prompt and answer: so the network learns to copy words that
    the vocabulary does not have. The ``strange`` words among them are put together from any tokens
    at all, so that each of these is copied now and then, however rare it is in words; only
    ``meaningless`` words may become strange, which the answer repeats whatever they are.
    """

    answer: str
    user: str = ""
    thought: str = ""
    before: list[Message] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)
    system: str | None = None
    thinking: bool = False
    raw: str | None = None
    parts: list[str] = field(default_factory=list)
    meaningless: frozenset[str] = frozenset()
    broken: int = 0
    strange: frozenset[str] = frozenset()

    def messages(self) -> list[Message]:
        """The conversation up to the answer."""
        head = [{"role": "system", "content": self.system}] if self.system else []
        last = [{"role": "user", "content": self.user}] if self.user else []
        return head + self.before + last

    def completion(self) -> str:
        """The text that the model writes, with its thinking where that was asked for."""
        if self.thinking:
            return f"<think>\n{self.thought}\n</think>\n\n{self.answer}"
        return self.answer


class Deck:
    """Deals the items of a table evenly: each once, in a drawn order, before any comes again."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.left: list[Any] = []

    def deal(self, rng: random.Random) -> Any:
        """The next item."""
        if not self.left:
            self.left = list(self.items)
            rng.shuffle(self.left)
        return self.left.pop()


def fill(rng: random.Random, text: str) -> str:
    """Put drawn words into the open places that every wording may have."""
    for key, table in (
        ("{noun}", words.NOUNS),
        ("{name}", words.NAMES),
        ("{adjective}", words.ADJECTIVES),
        ("{verb}", words.VERBS),
    ):
        while key in text:
            text = text.replace(key, rng.choice(table), 1)
    return text


def loosen(rng: random.Random, wording: str) -> str:
    """A wording with a word too many now and then, away from its open places.

    So that no wording is learned by heart as a whole.
    """
    parts = wording.split(" ")
    places = [i for i in range(1, len(parts)) if not set("{}\0") & set(parts[i - 1] + parts[i])]
    if not places or rng.random() > 0.2:
        return wording
    parts.insert(rng.choice(places), rng.choice(words.SMALL_WORDS + words.ADJECTIVES))
    return " ".join(parts)


def lower_first(text: str) -> str:
    """The text with a small first letter, but for names and abbreviations."""
    return text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def dress(rng: random.Random, request: str, plain: float = 0.4) -> str:
    """Wrap a request in drawn phrases and vary its case and final mark."""
    if rng.random() > plain:
        if rng.random() < 0.7:
            inner = lower_first(request) if rng.random() < 0.6 else request
            request = fill(rng, rng.choice(words.PREFIXES).replace("{}", "\0")).replace("\0", inner)
        if rng.random() < 0.4:
            ending = fill(rng, rng.choice(words.SUFFIXES).replace("{}", "\0"))
            request = ending.replace("\0", request)
    if rng.random() < 0.12:
        request = request.rstrip("?.!")
    if rng.random() < 0.08:
        request = lower_first(request)
    if rng.random() < 0.06:
        request = f"{random_words(rng, rng.randint(1, 4))}. {request}"
    return request


def dress_around(rng: random.Random, asked: str, text: str) -> str:
    """Like ``dress``, for a wording that carries a text that must stay as it is."""
    if rng.random() < 0.25:
        prefix = fill(rng, rng.choice(words.PREFIXES).replace("{}", "\1"))
        if not asked.startswith("\0"):
            asked = prefix.replace("\1", lower_first(asked))
    if rng.random() < 0.1:
        asked = lower_first(asked)
    return asked.replace("\0", text)


def syllable_word(rng: random.Random) -> str:
    """A word that is in no table."""
    starts = "b c d f g h j k l m n p r s t v w z br ch cl dr fl gr pl sh st th tr".split()
    ends = ["a", "e", "i", "o", "u", "ai", "ee", "oo", "ar", "en", "il"]
    word = "".join(rng.choice(starts) + rng.choice(ends) for _ in range(rng.randint(1, 3)))
    return word + rng.choice(["", "", "n", "r", "s", "t", "l", "m"])


WORD_TABLE: tuple[str, ...] = (
    words.NOUNS + words.VERBS + words.ADJECTIVES + words.SMALL_WORDS + words.NAMES + words.CITIES
)


def spliced_word(rng: random.Random) -> str:
    """A word put together from the beginning of one word and the end of another."""
    first, second = rng.choice(WORD_TABLE).split()[0], rng.choice(WORD_TABLE).split()[-1]
    return first[: rng.randint(1, len(first))] + second[rng.randrange(len(second)) :].lower()


def odd_word(rng: random.Random) -> str:
    """A word that is in no table, of either kind."""
    return spliced_word(rng) if rng.random() < 0.7 else syllable_word(rng)


def alike_words(rng: random.Random, count: int) -> list[str]:
    """Words with few endings, as of "raven" and "seven".

    Who copies them must look back further than to the last tokens to know where to go on.
    """
    endings = [rng.choice(WORD_TABLE).split()[-1][-rng.randint(2, 5) :] for _ in range(count // 4)]
    endings = endings or ["en"]
    return [
        rng.choice(WORD_TABLE)[: rng.randint(1, 4)].rstrip() + rng.choice(endings).lower()
        for _ in range(count)
    ]


def random_words(rng: random.Random, count: int) -> str:
    """Words in no order, of one kind or mixed."""
    kind = rng.random()
    if kind < 0.12:
        mixed = [*alike_words(rng, -(-count // 2)), *rng.choices(WORD_TABLE, k=count // 2)]
        rng.shuffle(mixed)
        return " ".join(mixed)
    if kind < 0.4:
        return " ".join(rng.choice(WORD_TABLE) for _ in range(count))
    if kind < 0.75:
        return " ".join(
            rng.choice(WORD_TABLE) if rng.random() < 0.6 else odd_word(rng) for _ in range(count)
        )
    return " ".join(odd_word(rng) for _ in range(count))


def odd_text(rng: random.Random) -> str:
    """Text that is not plain words: numbers, code, signs, other scripts."""
    kind = rng.randrange(7)
    if kind == 0:
        sizes = [rng.randint(1, 6) for _ in range(rng.randint(1, 8))]
        return " ".join(str(rng.randrange(10**size)) for size in sizes)
    if kind == 1:
        ranges = [
            (0x00C0, 0x017F),
            (0x0391, 0x03C9),
            (0x0410, 0x044F),
            (0x4E00, 0x4F00),
            (0x3041, 0x3090),
            (0x1F600, 0x1F640),
        ]
        low, high = rng.choice(ranges)
        return "".join(chr(rng.randint(low, high)) for _ in range(rng.randint(1, 8)))
    if kind == 2:
        return f"{rng.choice(words.NOUNS)}_{rng.choice(words.VERBS)}({rng.randrange(100)})"
    if kind == 3:
        return ", ".join(random_words(rng, 1) for _ in range(rng.randint(2, 12)))
    if kind == 4:
        return random_words(rng, rng.randint(3, 10)).capitalize() + rng.choice([".", "!", "?"])
    if kind == 5:
        return "\n".join(random_words(rng, rng.randint(1, 3)) for _ in range(rng.randint(2, 5)))
    signs = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_/.:"
    return "".join(rng.choice(signs) for _ in range(rng.randint(3, 16)))


def with_article(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]
