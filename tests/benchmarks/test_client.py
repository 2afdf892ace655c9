"""Taking a streamed answer apart, and leaving one."""

from __future__ import annotations

import asyncio
import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.client import Answer, BenchmarkFailed, ChatStream, Usage, parse_answer

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
END = {
    "choices": [],
    "usage": {"prompt_tokens": 9, "completion_tokens": 3},
    "timings": {"cache_n": 2, "predicted_ms": 40.0},
}


def event(text: str | None) -> bytes:
    return frame({"choices": [{"delta": {"role": "assistant", "content": text}}]})


def frame(document: object) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\r\n\r\n"


def chunk(body: bytes) -> bytes:
    return f"{len(body):x}\r\n".encode() + body + b"\r\n"


BODY = (event(None), b": keepalive\r\n\r\n", event("a"), event("b"), event("c"), frame(END))
WHOLE = HEAD + b"".join(map(chunk, BODY)) + chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n"


def test_arrivals_are_those_of_the_events_with_text() -> None:
    reads = [(10.0, HEAD), *((11.0 + n, chunk(piece)) for n, piece in enumerate(BODY))]

    answer = parse_answer(9.0, reads, 8)

    assert answer == Answer(9.0, (13.0, 14.0, 15.0), (1, 1, 1), Usage(9, 2, 3, 40.0), "abc")
    assert answer.first_token_seconds == 4.0
    assert answer.tokens_per_second() == 1.0
    assert answer.engine_tokens_per_second() == 50.0


@given(cuts=st.sets(st.integers(1, len(WHOLE) - 1)))
def test_however_the_bytes_are_cut_the_answer_is_the_same(cuts: set[int]) -> None:
    bounds = [0, *sorted(cuts), len(WHOLE)]
    pieces = [WHOLE[a:b] for a, b in itertools.pairwise(bounds)]

    answer = parse_answer(0.0, [(1.0 + n, piece) for n, piece in enumerate(pieces)], 8)

    assert len(answer.arrivals) == 3
    assert list(answer.arrivals) == sorted(answer.arrivals)
    assert answer.usage == Usage(9, 2, 3, 40.0)


def test_a_body_without_chunks_is_understood_too() -> None:
    whole = b"HTTP/1.0 200 OK\r\n\r\n" + b"".join(BODY)

    assert len(parse_answer(0.0, [(1.0, whole)], 8).arrivals) == 3


def test_an_answer_that_was_broken_off_has_its_arrivals_and_no_usage() -> None:
    cut = WHOLE[: WHOLE.index(b'"b"')]

    answer = parse_answer(0.0, [(1.0, cut)], 8)

    assert (answer.arrivals, answer.usage) == ((1.0,), None)
    with pytest.raises(BenchmarkFailed, match="1 events has no rate"):
        answer.tokens_per_second()


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\ntoo many wait", "503 .*too many wait"),
        (b"", "nothing"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + frame({"error": {"code": "x"}}), "ended an answer with"),
        (b"HTTP/1.1 200 OK\r\n\r\n" + frame(END), "no text"),
    ],
)
def test_what_is_no_answer_is_a_failure_that_says_why(received: bytes, reason: str) -> None:
    with pytest.raises(BenchmarkFailed, match=reason):
        parse_answer(0.0, [(1.0, received)], 8)


def test_the_longest_gap_is_looked_for_only_around_the_time_asked_for() -> None:
    answer = Answer(0.0, (1.0, 9.0, 10.0, 13.0, 14.0, 20.0), (1,) * 6, None)

    assert answer.longest_gap_seconds(11.0, 13.5) == 3.0
    assert answer.longest_gap_seconds(30.0, 31.0) == 0.0


def test_tokens_that_came_in_the_first_event_do_not_count_as_come_after_it() -> None:
    answer = Answer(0.0, (1.0, 2.0), (30, 10), Usage(9, 0, 8, None))

    assert answer.tokens_per_second() == 2.0
    assert answer.engine_tokens_per_second() is None


async def test_a_stream_can_be_left_in_the_middle() -> None:
    left = asyncio.Event()

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        try:
            while not writer.is_closing():
                writer.write(chunk(event("word")))
                await writer.drain()
                await asyncio.sleep(0.001)
        except ConnectionError:
            pass
        finally:
            writer.close()
            left.set()

    async with await asyncio.start_server(endless, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        stream = ChatStream(f"http://127.0.0.1:{port}", "any", ["prompt"], 10)
        running = asyncio.create_task(stream.run())
        await stream.receive(5)
        stream.stop()

        answer = await running

        assert len(answer.arrivals) >= 5
        assert answer.usage is None
        async with asyncio.timeout(30):
            await left.wait()


async def test_waiting_for_a_stream_that_fails_does_not_hang() -> None:
    stream = ChatStream("http://127.0.0.1:1", "any", ["prompt"], 10)
    running = asyncio.create_task(stream.run())

    async with asyncio.timeout(30):
        await stream.receive(5)

    with pytest.raises(OSError, match="Connect"):
        await running


def test_an_answer_that_reached_its_limit_is_counted_by_that() -> None:
    event = b'data: {"choices": [{"delta": {"content": "x"}}]}\n\n'
    end = b'data: {"choices": [{"delta": {}, "finish_reason": "%s"}]}\n\n'
    head = b"HTTP/1.1 200 OK\r\n\r\n"
    full = parse_answer(0.0, [(1.0, head + event * 3 + end % b"length")], 3)
    assert full.usage == Usage(None, 0, 3, None)
    assert parse_answer(0.0, [(1.0, head + event * 3 + end % b"stop")], 3).usage is None
