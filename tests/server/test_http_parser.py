"""A request that asks for another protocol is read as if it did not."""

from __future__ import annotations

import httptools
import pytest

from localserve.server.http_parser import OneProtocolParser

JAVA = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk\r\nUpgrade: h2c\r\n"
WEBSOCKET = b"Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
TWICE = b"Upgrade: h2c\r\nConnection: upgrade\r\nupgrade: websocket\r\n"

WITH_LENGTH = b"Content-Length: 15\r\n\r\n" + b'{"content":"a"}'
IN_CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\na\r\n0123456789\r\n0\r\n\r\n"
WITHOUT = b"\r\n"
LIKE_A_REQUEST = b"Content-Length: 23\r\n\r\nGET /no HTTP/1.1\r\na: b\r\n"


class Server:
    """Writes down what it is told, as uvicorn's protocol would understand it."""

    def __init__(self) -> None:
        self.parser = OneProtocolParser(self)
        self.requests: list[tuple[bytes, bytes, bool, dict[bytes, bytes]]] = []
        self.bodies: list[bytes] = []
        self.ended = 0

    def on_message_begin(self) -> None:
        self.url, self.headers = b"", list[tuple[bytes, bytes]]()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        if not self.parser.asks_for_another():
            keeps = self.parser.should_keep_alive()
            named = dict(self.headers)
            self.requests.append((self.parser.get_method(), self.url, keeps, named))
            self.bodies.append(b"")

    def on_body(self, body: bytes) -> None:
        self.bodies[-1] += body

    def on_message_complete(self) -> None:
        if not self.parser.asks_for_another():
            self.ended += 1


def told(parts: list[bytes]) -> tuple[object, ...]:
    server = Server()
    for part in parts:
        server.parser.feed_data(part)
    assert not server.parser.should_upgrade()
    return server.requests, server.bodies, server.ended


@pytest.mark.parametrize("asking", [JAVA, WEBSOCKET, TWICE], ids=["java", "websocket", "twice"])
@pytest.mark.parametrize(
    "body",
    [WITH_LENGTH, IN_CHUNKS, WITHOUT, LIKE_A_REQUEST],
    ids=["length", "chunks", "none", "like a request"],
)
def test_wherever_the_bytes_are_parted(asking: bytes, body: bytes) -> None:
    first = b"POST /v1/chat/completions?a=b HTTP/1.1\r\nHost: localhost\r\nX-Odd: \xe4,  b\r\n"
    then = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
    lines = [line for line in asking.splitlines(True) if not line.lower().startswith(b"upgrade:")]
    wanted = told([first + b"".join(lines) + body + then])
    whole = first + asking + body + then
    assert wanted[2] == 2
    assert told([whole]) == wanted
    for at in range(1, len(whole)):
        assert told([whole[:at], whole[at:]]) == wanted
    assert told([whole[at : at + 1] for at in range(len(whole))]) == wanted


def test_several_that_were_sent_together_all_ask() -> None:
    one = b"POST /a HTTP/1.1\r\nHost: localhost\r\n" + JAVA + WITH_LENGTH
    requests, bodies, ended = told([one * 3])
    assert ended == 3
    assert bodies == [b'{"content":"a"}'] * 3
    assert isinstance(requests, list)
    assert all(b"upgrade" not in headers for *_, headers in requests)


@pytest.mark.parametrize("target", [b"localhost:443", b"/"])
def test_there_is_nothing_to_connect_to(target: bytes) -> None:
    with pytest.raises(httptools.HttpParserError):
        told([b"CONNECT " + target + b" HTTP/1.1\r\nHost: localhost\r\n\r\nabc"])
