"""The scenarios against a small server made of asyncio."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks.client import BenchmarkFailed
from benchmarks.scenarios import (
    DECODE,
    ENGINE_DECODE,
    FIRST_TOKEN,
    LONG_FIRST_TOKEN,
    LONGEST_GAP,
    MANY_STREAMS,
    RESTART_FIRST_TOKEN,
    RESTART_SHARE,
    SHARED_DONE,
    SHARED_FIRST_TOKENS,
    TURNS_COMPUTED,
    TURNS_FIRST_TOKEN,
    LongPrompt,
    ManyStreams,
    Prompts,
    Restart,
    SharedPrefix,
    SingleStream,
    Turns,
)
from benchmarks.servers import Server

STALL_SECONDS = 0.3


class Stalling:
    """Answers token by token; a prompt of more than 100 words stops all answers for a while."""

    def __init__(self, most_tokens: int = 10_000) -> None:
        self._most_tokens = most_tokens
        self._free = asyncio.Event()
        self._free.set()
        self.requests = 0
        self.prompts: list[list[str]] = []

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[Server]:
        async with await asyncio.start_server(self._answer, "127.0.0.1", 0) as listener:
            port = listener.sockets[0].getsockname()[1]
            yield Server("localserve", f"http://127.0.0.1:{port}", "any", process=None)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests += 1
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            body = json.loads(await reader.readexactly(length))
            self.prompts.append([message["content"] for message in body["messages"]])
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            if len(body["messages"][0]["content"].split()) > 100:
                self._free.clear()
                await asyncio.sleep(STALL_SECONDS)
                self._free.set()
            tokens = min(body["max_tokens"], self._most_tokens)
            for _ in range(tokens):
                await self._free.wait()
                self._send(writer, {"choices": [{"delta": {"content": "word "}}]})
                await writer.drain()
                await asyncio.sleep(0.001)
            words = sum(len(message["content"].split()) for message in body["messages"])
            usage = {"prompt_tokens": words, "completion_tokens": tokens}
            timings = {"predicted_ms": 1.0, "cache_n": 3}
            self._send(writer, {"choices": [], "usage": usage, "timings": timings})
        except ConnectionError:
            pass
        finally:
            writer.close()

    def _send(self, writer: asyncio.StreamWriter, document: object) -> None:
        writer.write(b"data: " + json.dumps(document).encode() + b"\n\n")


async def test_a_single_stream_gives_its_rate_by_both_clocks_and_its_first_token() -> None:
    async with Stalling().serve() as server:
        measured = await SingleStream(words=4, tokens=11).run(server, Prompts(1, "a", 0))

    assert set(measured.figures) == {DECODE, ENGINE_DECODE, FIRST_TOKEN}
    assert measured.figures[ENGINE_DECODE] == 10_000
    assert 0 < measured.figures[DECODE] < 1_000
    assert measured.cached_tokens == 3


async def test_many_streams_sends_each_clients_requests_one_after_the_other() -> None:
    stalling = Stalling()
    async with stalling.serve() as server:
        measured = await ManyStreams(clients=3, rounds=2, tokens=5).run(server, Prompts(1, "a", 0))

    assert stalling.requests == 6
    assert measured.figures[MANY_STREAMS] > 0


async def test_a_long_prompt_that_stalls_a_running_stream_shows_as_its_longest_gap() -> None:
    async with Stalling().serve() as server:
        measured = await LongPrompt(words=200).run(server, Prompts(1, "a", 0))

    assert measured.figures[LONGEST_GAP] >= STALL_SECONDS * 0.9
    assert measured.figures[LONG_FIRST_TOKEN] >= STALL_SECONDS * 0.9


async def test_a_stream_too_short_to_meet_the_long_prompt_is_a_failure() -> None:
    async with Stalling().serve() as server:
        with pytest.raises(BenchmarkFailed, match="before the long prompt"):
            await LongPrompt(words=200, stream_tokens=8).run(server, Prompts(1, "a", 0))


async def test_requests_that_share_their_beginning_are_sent_at_once_and_the_last_one_counts() -> (
    None
):
    stalling = Stalling()
    async with stalling.serve() as server:
        scenario = SharedPrefix(clients=3, words=40, own_words=2, tokens=2)
        measured = await scenario.run(server, Prompts(1, "a", 0))

    texts = [text for (text,) in stalling.prompts]
    assert sorted(texts) == sorted(scenario.texts(Prompts(1, "a", 0)))
    assert len(set(texts)) == 3
    assert len({" ".join(text.split()[:40]) for text in texts}) == 1
    first, done = measured.figures[SHARED_FIRST_TOKENS], measured.figures[SHARED_DONE]
    assert 0 < first <= done


async def test_a_conversation_sends_all_that_was_said_and_counts_what_is_computed_again() -> None:
    stalling = Stalling()
    async with stalling.serve() as server:
        measured = await Turns(turns=3, words=4, tokens=5).run(server, Prompts(1, "a", 0))

    assert [len(said) for said in stalling.prompts] == [1, 3, 5]
    assert stalling.prompts[2][:3] == stalling.prompts[1]
    assert stalling.prompts[1][1].split() == ["word"] * 5
    # Of 13 and 22 tokens 3 were cached, and 4 were new each time.
    assert measured.figures[TURNS_COMPUTED] == (10 + 19) / 8
    assert measured.figures[TURNS_FIRST_TOKEN] > 0


async def test_a_restart_lies_between_the_same_prompt_and_itself() -> None:
    stalling = Stalling()
    restarted: list[int] = []
    async with stalling.serve() as server:
        scenario = Restart(
            words=40, tokens=2, restart=lambda server: restarted.append(stalling.requests)
        )
        measured = await scenario.run(server, Prompts(1, "a", 0))

    assert restarted == [1]
    (first,), _, (last,) = stalling.prompts
    assert first == last == Prompts(1, "a", 0).next(40)
    assert measured.figures[RESTART_FIRST_TOKEN] > 0
    assert measured.figures[RESTART_SHARE] > 0


async def test_an_answer_shorter_than_asked_for_is_a_failure() -> None:
    async with Stalling(most_tokens=3).serve() as server:
        with pytest.raises(BenchmarkFailed, match="3 of 16 tokens"):
            await SingleStream(tokens=16).run(server, Prompts(1, "a", 0))


def test_each_server_gets_the_same_prompts_and_each_run_and_scenario_others() -> None:
    first, again, other = Prompts(1, "a", 0), Prompts(1, "a", 0), Prompts(1, "a", 1)

    said = first.next(50)

    assert len(said.split()) == 50
    assert said == again.next(50)
    assert said != first.next(50)
    assert said != other.next(50)
    assert said != Prompts(1, "b", 0).next(50)
