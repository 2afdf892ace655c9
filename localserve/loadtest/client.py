"""Asks a server for streamed answers and notes when each piece of bytes came, nothing else.

Every prompt begins differently, so that no server answers from what it computed for another. Lives
on an asyncio loop.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2

from localserve.errors import InvalidRequest
from localserve.loadtest.answer import Exchange

SILENCE_SECONDS: Final = 300.0
"""A server that sends nothing for so long has failed."""

MAX_ANSWER_BYTES: Final = 16 << 20

_WORDS: Final = (
    "river", "window", "seven", "market", "letter", "garden", "engine", "winter", "silver",
    "mountain", "paper", "signal", "bridge", "story", "number", "island", "music", "harbour",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of which server. `url` is without `/v1`; no `model` means the server's default.

    `check_certificate` is False for this machine's own server: its certificate is for the names
    that others use.
    """

    url: str
    key: str | None = field(default=None, repr=False)
    model: str | None = None
    prompt_words: int = 100
    max_tokens: int = 64
    check_certificate: bool = True


def parse_url(text: str) -> str:
    """The address of a server, with or without `/v1`. Raises: InvalidRequest."""
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise InvalidRequest(
            f"{text!r} is no address of a server.", hint="Such as http://127.0.0.1:8080."
        )
    return text.rstrip("/").removesuffix("/v1")


class LoadClient:
    """Any number of requests at once, over connections that are kept."""

    def __init__(self, load: Load, client: httpx2.AsyncClient) -> None:
        self._client = client
        self._load = load
        self._url = f"{load.url}/v1/chat/completions"
        self._headers = {b"authorization": f"Bearer {load.key}".encode()} if load.key else None
        self._random = random.Random()

    async def ask(self) -> Exchange:
        """One request, to its end. Never raises for what a server or the network does."""
        reads: list[tuple[float, bytes]] = []
        status, broken, received = None, None, 0
        sent = perf_counter()
        try:
            async with self._client.stream(
                "POST", self._url, json=self._body(), headers=self._headers
            ) as response:
                status = response.status_code
                async for piece in response.aiter_bytes():
                    reads.append((perf_counter(), piece))
                    received += len(piece)
                    if received > MAX_ANSWER_BYTES:
                        broken = "answer too long"
                        break
        except httpx2.TimeoutException:
            broken = "time-out"
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            broken = str(error) or type(error).__name__
        return Exchange(sent, perf_counter(), status, reads, broken)

    def _body(self) -> dict[str, Any]:
        words = self._random.choices(_WORDS, k=self._load.prompt_words)
        # What is measured is computing, so no prompt may be known: its beginning is new.
        text = f"{self._random.getrandbits(64):x} {' '.join(words)}. Tell a long story with these."
        body: dict[str, Any] = {
            "messages": [{"role": "user", "content": text}],
            "max_tokens": self._load.max_tokens,
            "ignore_eos": True,  # answers of one length, where the server knows the field
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        return body if self._load.model is None else {**body, "model": self._load.model}


@asynccontextmanager
async def load_client(load: Load) -> AsyncIterator[LoadClient]:
    """A client, whose connections are closed with the block."""
    async with httpx2.AsyncClient(
        timeout=httpx2.Timeout(SILENCE_SECONDS, pool=None),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None),
        trust_env=False,
        verify=load.check_certificate,
    ) as client:
        yield LoadClient(load, client)
