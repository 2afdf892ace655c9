"""A streaming chat client that disturbs as little as it can what it measures.

It shares the processor with the server, so while an answer arrives it only notes when each piece of
bytes came; HTTP chunks, events and JSON are taken apart when the answer has ended. Speaks the part
of HTTP/1.1 that servers answer a `Connection: close` with. Runs on one asyncio loop.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, pairwise
from time import perf_counter
from urllib.parse import urlsplit

_READ_BYTES = 65_536
_LONGEST_ANSWER_SECONDS = 600


class BenchmarkFailed(Exception):
    """A server could not be started, refused a request, or broke off an answer."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the server says about an answer; times are in its engine, None if it does not say.

    `predicted_ms` is from the first token to the last. Of a server that counts nothing, but says
    that the answer reached its limit, only `answer_tokens` is known.
    """

    prompt_tokens: int | None
    cached_tokens: int
    answer_tokens: int
    predicted_ms: float | None


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer as it arrived: for each event with text the clock's reading and its characters.

    `usage` is None for an answer that was stopped before its end. `text` is without reasoning.
    """

    sent: float
    arrivals: tuple[float, ...]
    characters: tuple[int, ...]
    usage: Usage | None
    text: str = ""

    @property
    def first_token_seconds(self) -> float:
        return self.arrivals[0] - self.sent

    def tokens_per_second(self) -> float:
        """After the first event, as it arrived.

        A server that writes several tokens into one event gives no count of them; the first
        event's share is then taken from its share of the text.

        Raises: BenchmarkFailed when the answer has no end or is a single event.
        """
        if self.usage is None or len(self.arrivals) < 2:
            raise BenchmarkFailed(
                f"an answer of {len(self.arrivals)} events has no rate; ask for more tokens"
            )
        first = 1.0
        if len(self.arrivals) < self.usage.answer_tokens:
            first = self.usage.answer_tokens * self.characters[0] / sum(self.characters)
        return (self.usage.answer_tokens - first) / (self.arrivals[-1] - self.arrivals[0])

    def engine_tokens_per_second(self) -> float | None:
        """After the first token, by the server's own clock; None if it does not report it."""
        if self.usage is None or not self.usage.predicted_ms:
            return None
        return (self.usage.answer_tokens - 1) / self.usage.predicted_ms * 1e3

    def longest_gap_seconds(self, start: float, end: float) -> float:
        """The longest silence between two tokens that overlaps the time from `start` to `end`."""
        gaps = pairwise(self.arrivals)
        return max((b - a for a, b in gaps if b >= start and a <= end), default=0.0)


class ChatStream:
    """One streamed request. `run` may be a task; `stop` breaks it off as a leaving client does.

    `texts` are what user and assistant said in turn, the user first and last.
    """

    def __init__(self, url: str, model: str, texts: Sequence[str], tokens: int) -> None:
        address = urlsplit(url)
        self._host, self._port = address.hostname or "127.0.0.1", address.port or 80
        self._tokens = tokens
        self._request = _request_bytes(f"{self._host}:{self._port}", model, texts, tokens)
        self._reads: list[tuple[float, bytes]] = []
        self._events = 0
        self._progress = asyncio.Event()
        self._ended = False
        self._writer: asyncio.StreamWriter | None = None

    async def run(self) -> Answer:
        """Send the request and read to its end.

        Raises: BenchmarkFailed, TimeoutError after ten minutes.
        """
        try:
            async with asyncio.timeout(_LONGEST_ANSWER_SECONDS):
                reader, self._writer = await asyncio.open_connection(self._host, self._port)
                sent = perf_counter()
                self._writer.write(self._request)
                while piece := await reader.read(_READ_BYTES):
                    self._reads.append((perf_counter(), piece))
                    self._events += piece.count(b"data:")
                    self._progress.set()
        finally:
            self._ended = True
            self._progress.set()
            self.stop()
        return parse_answer(sent, self._reads, self._tokens)

    async def receive(self, events: int) -> None:
        """Wait until about `events` more have arrived, or the stream has ended."""
        wanted = self._events + events
        while self._events < wanted and not self._ended:
            self._progress.clear()
            await self._progress.wait()

    def stop(self) -> None:
        """Close the connection; `run` returns what has arrived."""
        if self._writer is not None:
            self._writer.close()


def parse_answer(sent: float, reads: Sequence[tuple[float, bytes]], limit: int) -> Answer:
    """Take apart what arrived, as pairs of a clock reading and the bytes read then; at most `limit`
    tokens had been asked for.

    Raises: BenchmarkFailed when it is not a stream of events, or is one with an error in it.
    """
    arrivals: list[float] = []
    characters: list[int] = []
    usage: Usage | None = None
    is_full = False
    said: list[str] = []
    for when, line in _lines(reads):
        if not line.startswith(b"data:") or (data := line[5:].strip()) == b"[DONE]":
            continue
        event = json.loads(data)
        if "error" in event:
            raise BenchmarkFailed(f"the server ended an answer with {event['error']}")
        for choice in event.get("choices", ()):
            is_full = is_full or choice.get("finish_reason") == "length"
            delta = choice.get("delta", {})
            said.append(delta.get("content") or "")
            if text := delta.get("content") or delta.get("reasoning_content"):
                arrivals.append(when)
                characters.append(len(text))
        if event.get("usage"):
            usage = _usage(event)
    if not arrivals:
        raise BenchmarkFailed("an answer had no text")
    if usage is None and is_full:
        usage = Usage(None, 0, limit, None)
    return Answer(sent, tuple(arrivals), tuple(characters), usage, "".join(said))


def _usage(event: dict[str, dict[str, float]]) -> Usage:
    usage, timings = event["usage"], event.get("timings", {})
    return Usage(
        prompt_tokens=int(usage["prompt_tokens"]),
        cached_tokens=int(timings.get("cache_n", 0)),
        answer_tokens=int(usage["completion_tokens"]),
        predicted_ms=timings.get("predicted_ms"),
    )


def _lines(reads: Sequence[tuple[float, bytes]]) -> Iterator[tuple[float, bytes]]:
    """The lines of the body, each with the time at which its end arrived."""
    whole = b"".join(piece for _, piece in reads)
    head, separator, body = whole.partition(b"\r\n\r\n")
    status = head.split(b"\r\n", 1)[0].decode(errors="replace")
    if not separator or " 200 " not in f"{status} ":
        text = body[:500].decode(errors="replace")
        raise BenchmarkFailed(f"the server answered {status or 'nothing'}: {text}")
    chunked = b"transfer-encoding: chunked" in head.lower()
    body_start = len(head) + len(separator)
    spans = _chunks(whole, body_start) if chunked else [(body_start, len(whole))]
    clock = _Clock(reads)
    line = bytearray()
    for start, end in spans:
        while start < end:
            newline = whole.find(b"\n", start, end)
            stop = end if newline < 0 else newline + 1
            line += whole[start:stop]
            start = stop
            if newline >= 0:
                yield clock.time_of(stop), bytes(line).strip()
                line.clear()


def _chunks(whole: bytes, start: int) -> Iterator[tuple[int, int]]:
    """Where the payload of each complete HTTP chunk begins and ends."""
    while (size_end := whole.find(b"\r\n", start)) >= 0:
        size = int(whole[start:size_end].partition(b";")[0], 16)
        payload = size_end + 2
        if size == 0 or payload + size > len(whole):
            return
        yield payload, payload + size
        start = payload + size + 2


class _Clock:
    """When a byte arrived; asked for positions in rising order."""

    def __init__(self, reads: Sequence[tuple[float, bytes]]) -> None:
        self._reads = iter(reads)
        self._end, self._when = 0, 0.0

    def time_of(self, end: int) -> float:
        while self._end < end:
            self._when, piece = next(self._reads)
            self._end += len(piece)
        return self._when


def _request_bytes(host: str, model: str, texts: Sequence[str], tokens: int) -> bytes:
    body = json.dumps(
        {
            "model": model,
            "messages": [
                {"role": role, "content": text}
                for role, text in zip(cycle(("user", "assistant")), texts, strict=False)
            ],
            "max_tokens": tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
    ).encode()
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nAccept: text/event-stream\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
