"""httptools' parser, for a server that knows no other protocol to go on with.

A request may ask to go on with another protocol (`Upgrade`), and Java's client asks each server for
HTTP/2 that way. Who knows none answers as if it had not been asked (RFC 9110, section 7.8). But
httptools ends such a request behind its head, whatever length it says: its body would be read as
the next request. So the head is parsed again, without that line. Lives on the event loop.
"""

from __future__ import annotations

from typing import Any

import httptools


class OneProtocolParser:
    """A request parser with httptools' methods. `protocol` is told what is read, as httptools tells
    it, and keeps `url` and `headers` of the head that came last."""

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._parser = _request_parser(protocol)

    def feed_data(self, data: bytes) -> None:
        """Parse what has come. Raises: httptools.HttpParserError."""
        while True:
            try:
                self._parser.feed_data(data)
                return
            except httptools.HttpParserUpgrade as asked:
                if not self.asks_for_another():
                    raise httptools.HttpParserError("there is nothing to connect to") from None
                data = self._head() + data[asked.args[0] :]
                self._parser = _request_parser(self._protocol)

    def asks_for_another(self) -> bool:
        """Whether the request wants another protocol: its head comes again, without that."""
        return self._parser.should_upgrade() and self.get_method() != b"CONNECT"

    def should_upgrade(self) -> bool:
        """Never: there is only the one."""
        return False

    def should_keep_alive(self) -> bool:
        return bool(self._parser.should_keep_alive())

    def get_http_version(self) -> str:
        return str(self._parser.get_http_version())

    def get_method(self) -> bytes:
        return bytes(self._parser.get_method())

    def _head(self) -> bytes:
        """The head that was parsed, as a client would have sent it that wants nothing else."""
        version = self.get_http_version().encode()
        lines = [b"%s %s HTTP/%s" % (self.get_method(), self._protocol.url, version)]
        lines += [b"%s: %s" % line for line in self._protocol.headers if line[0] != b"upgrade"]
        return b"\r\n".join([*lines, b"", b""])


def _request_parser(protocol: Any) -> httptools.HttpRequestParser:
    parser = httptools.HttpRequestParser(protocol)
    # As uvicorn does: so that a request that was sent with others before their answers is read.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser
