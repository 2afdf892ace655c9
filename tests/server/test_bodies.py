"""Bodies are bounded whatever their headers promise."""

from __future__ import annotations

import asyncio
import gzip
import json

import pytest
from starlette.requests import Request
from starlette.types import Message

from localserve.server import bodies
from localserve.server.bodies import read_body
from localserve.server.errors import (
    ContentEncodingUnsupported,
    MediaTypeUnsupported,
    RequestTooLarge,
    RequestTooSlow,
)
from tests.server.conftest import HELLO, Serve


def request(chunks: list[bytes], **headers: str) -> Request:
    """A request whose body never ends after its last chunk."""
    waiting = list(chunks)

    async def receive() -> Message:
        if not waiting:
            await asyncio.Event().wait()
        return {"type": "http.request", "body": waiting.pop(0), "more_body": True}

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


async def test_a_body_is_refused_as_soon_as_it_is_too_large() -> None:
    with pytest.raises(RequestTooLarge, match="12 bytes or more; at most 10"):
        await read_body(request([b"123456"] * 2), 10)


async def test_a_body_that_lies_about_its_length_is_counted() -> None:
    with pytest.raises(RequestTooLarge):
        await read_body(request([b"x" * 11], content_length="3"), 10)


async def test_a_promised_body_is_refused_unread() -> None:
    with pytest.raises(RequestTooLarge, match="1,000,000 bytes"):
        await read_body(request([], content_length="1000000"), 10)


async def test_a_body_that_never_ends_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "BODY_SECONDS", 0.01)
    with pytest.raises(RequestTooSlow):
        await read_body(request([b"{"]), 10)


async def test_a_form_is_not_read() -> None:
    with pytest.raises(MediaTypeUnsupported, match="multipart/form-data"):
        await read_body(request([], content_type="multipart/form-data; boundary=x"), 10)


@pytest.mark.parametrize("encoding", ["gzip", "identity, Zstd", "br", "x-gzip, deflate"])
async def test_a_compressed_body_is_not_read(encoding: str) -> None:
    named = encoding.lower().removeprefix("identity, ")
    with pytest.raises(ContentEncodingUnsupported, match=f"'{named}'"):
        await read_body(request([], content_encoding=encoding), 10)


@pytest.mark.parametrize("encoding", ["identity", "Identity, identity", ""])
async def test_a_body_that_is_called_as_it_is_is_read(encoding: str) -> None:
    with pytest.raises(RequestTooLarge):
        await read_body(request([b"x" * 11], content_encoding=encoding), 10)


@pytest.mark.parametrize(
    "path",
    ["/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat", "/infill", "/embedding"],
)
async def test_a_compressed_body_is_a_415_that_says_what_to_do(call: Serve, path: str) -> None:
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    async with call() as served:
        body = gzip.compress(json.dumps(HELLO).encode())
        answer = await served.client.post(path, content=body, headers=headers)
    assert answer.status_code == 415
    assert answer.headers["accept-encoding"] == "identity"
    error = answer.json()["error"]
    text = error if isinstance(error, str) else error["message"]
    assert "'gzip'" in text
    assert "without Content-Encoding" in text
