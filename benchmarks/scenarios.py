"""What is measured: each scenario is a closed description and a way to run it against one server.

Every prompt is made of fresh random words, so no prefix cache has seen it; all servers of a run get
the same prompts. Knows nothing of how servers are started or results are shown. Runs on one loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, product
from statistics import median
from string import ascii_lowercase
from time import perf_counter
from typing import Protocol

from benchmarks.client import Answer, BenchmarkFailed, ChatStream, Usage
from benchmarks.servers import Server, restart

_WORDS = tuple("".join(pair) for pair in product(ascii_lowercase, repeat=2))


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured quantity."""

    name: str
    unit: str


DECODE = Figure("decode, HTTP", "tok/s")
ENGINE_DECODE = Figure("decode, engine time", "tok/s")
FIRST_TOKEN = Figure("first token", "s")
MANY_STREAMS = Figure("many streams", "tok/s")
LONGEST_GAP = Figure("longest gap", "s")
LONG_FIRST_TOKEN = Figure("long prompt, first token", "s")
LONGER_GAP = Figure("longest gap, 4,000 words", "s")
LONGER_FIRST_TOKEN = Figure("4,000 words, first token", "s")
SHARED_DONE = Figure("shared prefix, all done", "s")
SHARED_FIRST_TOKENS = Figure("shared prefix, first tokens", "s")
TURNS_COMPUTED = Figure("turns, computed per new", "tok/tok")
TURNS_FIRST_TOKEN = Figure("turns, first token", "s")
RESTART_FIRST_TOKEN = Figure("after a restart, first token", "s")
RESTART_SHARE = Figure("after a restart, of computing", "s/s")


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of one run, and the most prompt tokens that any answer to a fresh prompt took
    from a cache."""

    figures: Mapping[Figure, float]
    cached_tokens: int


class Prompts:
    """Random words; the same seed, scenario and run give every server the same prompts."""

    def __init__(self, seed: int, scenario: str, run: int) -> None:
        self._random = random.Random(f"{seed}/{scenario}/{run}")

    def next(self, words: int) -> str:
        """A prompt of two-letter words, about one token each."""
        return " ".join(self._random.choices(_WORDS, k=words))


class Scenario(Protocol):
    """Something to do with a server that yields figures."""

    @property
    def name(self) -> str: ...

    def describe(self) -> str: ...

    async def run(self, server: Server, prompts: Prompts) -> Measured: ...


@dataclass(frozen=True, slots=True)
class SingleStream:
    """One client, one short prompt, a greedy answer of fixed length."""

    words: int = 32
    tokens: int = 128
    name: str = "single"

    def describe(self) -> str:
        return f"one stream, {self.words} words in, {self.tokens} tokens out"

    async def run(self, server: Server, prompts: Prompts) -> Measured:
        answer = await _ask(server, prompts.next(self.words), self.tokens)
        figures = {
            DECODE: answer.tokens_per_second(),
            FIRST_TOKEN: answer.first_token_seconds,
        }
        if engine := answer.engine_tokens_per_second():
            figures[ENGINE_DECODE] = engine
        return _measured(figures, answer)


@dataclass(frozen=True, slots=True)
class ManyStreams:
    """Clients that each send their next request when the last one is answered."""

    clients: int = 8
    rounds: int = 2
    words: int = 32
    tokens: int = 48
    name: str = "many"

    def describe(self) -> str:
        return (
            f"{self.clients} clients, {self.rounds} requests each one after the other,"
            f" {self.words} words in, {self.tokens} tokens out"
        )

    async def run(self, server: Server, prompts: Prompts) -> Measured:
        asked = [
            [prompts.next(self.words) for _ in range(self.rounds)] for _ in range(self.clients)
        ]

        async def client(texts: list[str]) -> list[Answer]:
            return [await _ask(server, text, self.tokens) for text in texts]

        started = perf_counter()
        answers = list(chain(*await asyncio.gather(*map(client, asked))))
        took = perf_counter() - started
        produced = sum(answer.usage.answer_tokens for answer in answers if answer.usage)
        return _measured({MANY_STREAMS: produced / took}, *answers)


@dataclass(frozen=True, slots=True)
class LongPrompt:
    """A long prompt arrives while another stream runs; the stream is left when it is answered."""

    words: int = 1_000
    stream_words: int = 32
    stream_tokens: int = 4_096
    running_events: int = 8
    name: str = "long"
    gap: Figure = LONGEST_GAP
    first_token: Figure = LONG_FIRST_TOKEN

    def describe(self) -> str:
        return f"a prompt of {self.words} words arrives while another stream runs"

    async def run(self, server: Server, prompts: Prompts) -> Measured:
        text = prompts.next(self.stream_words)
        stream = ChatStream(server.url, server.model, [text], self.stream_tokens)
        running = asyncio.create_task(stream.run())
        try:
            await stream.receive(self.running_events)
            long = await _ask(server, prompts.next(self.words), tokens=4)
            # The stream's first token after the prompt closes the gap that is looked for.
            await stream.receive(2)
        finally:
            stream.stop()
            arrived = await running
        end = long.arrivals[0]
        if arrived.arrivals[-1] < end:
            raise BenchmarkFailed(
                f"the running stream ended after {len(arrived.arrivals)} tokens, before the long"
                " prompt was answered; give it more tokens"
            )
        figures = {
            self.gap: arrived.longest_gap_seconds(long.sent, end),
            self.first_token: long.first_token_seconds,
        }
        return _measured(figures, long)


LONGER_PROMPT = LongPrompt(
    words=4_000, name="longer", gap=LONGER_GAP, first_token=LONGER_FIRST_TOKEN
)
"""Longer than a batch of llama-server."""


@dataclass(frozen=True, slots=True)
class SharedPrefix:
    """Requests at once that begin with the same words, as those of an agent or an editor do."""

    clients: int = 8
    words: int = 600
    own_words: int = 8
    tokens: int = 4
    name: str = "shared"

    def describe(self) -> str:
        return (
            f"{self.clients} requests at once that share {self.words} words and have"
            f" {self.own_words} of their own, {self.tokens} tokens out"
        )

    def texts(self, prompts: Prompts) -> list[str]:
        """The prompts of one run."""
        shared = prompts.next(self.words)
        return [f"{shared} {prompts.next(self.own_words)}" for _ in range(self.clients)]

    async def run(self, server: Server, prompts: Prompts) -> Measured:
        asked = [_ask(server, text, self.tokens) for text in self.texts(prompts)]
        answers = await asyncio.gather(*asked)
        began = min(answer.sent for answer in answers)
        figures = {
            SHARED_DONE: max(answer.arrivals[-1] for answer in answers) - began,
            SHARED_FIRST_TOKENS: max(answer.arrivals[0] for answer in answers) - began,
        }
        cached = min(answer.usage.cached_tokens for answer in answers if answer.usage)
        return Measured(figures, cached)


@dataclass(frozen=True, slots=True)
class Turns:
    """A conversation whose every turn sends all that was said before."""

    turns: int = 5
    words: int = 100
    tokens: int = 48
    name: str = "turns"

    def describe(self) -> str:
        return (
            f"a conversation of {self.turns} turns, {self.words} words in and {self.tokens} tokens"
            " out each"
        )

    async def run(self, server: Server, prompts: Prompts) -> Measured:
        said: list[str] = []
        answers: list[Answer] = []
        for _ in range(self.turns):
            said.append(prompts.next(self.words))
            answers.append(await _ask(server, said, self.tokens))
            said.append(answers[-1].text)
        usages = [answer.usage for answer in answers if answer.usage]
        figures = {TURNS_FIRST_TOKEN: median(one.first_token_seconds for one in answers[1:])}
        if (computed := _computed_per_new(usages)) is not None:
            figures[TURNS_COMPUTED] = computed
        return Measured(figures, usages[0].cached_tokens)


def _computed_per_new(usages: Sequence[Usage]) -> float | None:
    """Prompt tokens computed in all turns but the first, for each that was new; None where the
    server does not count them."""
    computed = new = 0
    for before, usage in pairwise(usages):
        if usage.prompt_tokens is None or before.prompt_tokens is None:
            return None
        computed += usage.prompt_tokens - usage.cached_tokens
        new += usage.prompt_tokens - before.prompt_tokens - before.answer_tokens
    return computed / new


@dataclass(frozen=True, slots=True)
class Restart:
    """A long conversation, and the same again when the server has been restarted."""

    words: int = 2_000
    tokens: int = 4
    restart: Callable[[Server], None] = restart
    name: str = "restart"

    def describe(self) -> str:
        return f"a prompt of {self.words} words, and the same again after a restart"

    async def run(self, server: Server, prompts: Prompts) -> Measured:
        text = prompts.next(self.words)
        computed = await _ask(server, text, self.tokens)
        await asyncio.to_thread(self.restart, server)
        await _ask(server, "warming up", self.tokens)
        again = await _ask(server, text, self.tokens)
        figures = {
            RESTART_FIRST_TOKEN: again.first_token_seconds,
            RESTART_SHARE: again.first_token_seconds / computed.first_token_seconds,
        }
        return _measured(figures, computed)


async def _ask(server: Server, prompt: str | list[str], tokens: int) -> Answer:
    texts = [prompt] if isinstance(prompt, str) else prompt
    answer = await ChatStream(server.url, server.model, texts, tokens).run()
    if answer.usage is None:
        raise BenchmarkFailed(f"{server.name} reported no usage; the answer was cut off")
    if answer.usage.answer_tokens != tokens:
        raise BenchmarkFailed(
            f"{server.name} answered {answer.usage.answer_tokens} of {tokens} tokens: it does not"
            " keep to ignore_eos, or has a cap on answers"
        )
    return answer


def _measured(figures: Mapping[Figure, float], *answers: Answer) -> Measured:
    cached = max(answer.usage.cached_tokens for answer in answers if answer.usage)
    return Measured(figures, cached)
