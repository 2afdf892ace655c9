"""Reads a remote file's beginning over HTTP, range by range, as if it were a local one.

A server without ranges is read from its start, no further than needed. Knows nothing of GGUF and
of the hub. Blocking; one thread at a time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from localserve.catalog.web import Access, ask, check_address, encoding_of, shown
from localserve.errors import ModelUnusable

if TYPE_CHECKING:
    import httpx2

FIRST_READ_BYTES: Final = 1 << 20
TOTAL_SECONDS: Final = 300.0
_RANGE: Final = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)")


class FileChanged(Exception):
    """The file is another one than at the last read; what was read of it is void."""


class RangeReader:
    """One remote file.

    `first_bytes` are fetched first. A `pinned` address always means the same content, so etags may
    differ (between the machines of a content network). After `start` there are `size_bytes` (None:
    the server does not say), `etag` and `read`.
    """

    def __init__(
        self,
        client: httpx2.Client,
        url: str,
        access: Access,
        *,
        fetched: Callable[[int], object] = lambda count: None,
        first_bytes: int = FIRST_READ_BYTES,
        pinned: bool = False,
    ) -> None:
        check_address(url, access.plain_http_to)
        self.url = url
        self.size_bytes: int | None = None
        self.etag: str | None = None
        self._client = client
        self._access = access
        self._fetched = fetched
        self._first_bytes = first_bytes
        self._pinned = pinned
        self._deadline = time.monotonic() + TOTAL_SECONDS
        self._first = b""
        self._whole: _Whole | None = None

    def start(self, known_etag: str | None = None) -> bool:
        """Fetch the beginning; False where the file is still the one of `known_etag`.

        Raises: ModelUnusable, Busy, httpx2.TransportError, and what `access.refused` raises.
        """
        condition = {"If-None-Match": known_etag} if known_etag else {}
        response = self._ask(0, self._first_bytes, condition)
        if response.status_code == 304:
            response.close()
            return False
        self._first = self._take_first(response)
        return True

    def read(self, offset: int, length: int) -> bytes:
        """The bytes there, fewer at the file's end or where the first fetch ends.

        Raises: as `start`, and FileChanged.
        """
        if offset < len(self._first):
            return self._first[offset : offset + length]
        if self._whole is not None:
            return self._count(self._whole.read(offset, length))
        return self._read_range(offset, length)

    @property
    def ranged(self) -> bool:
        """Whether any part can be read; else only the file in order."""
        return self._whole is None

    def close(self) -> None:
        """Hang up."""
        if self._whole is not None:
            self._whole.close()
            self._whole = None

    def _take_first(self, response: httpx2.Response) -> bytes:
        try:
            self.etag = response.headers.get("ETag")
            if response.status_code == 416:
                self.size_bytes = 0
                response.close()
                return b""
            if response.status_code == 206:
                self.size_bytes = self._span(response, 0)
                return self._body(response, self._first_bytes)
        except BaseException:
            response.close()
            raise
        encoded = encoding_of(response) != "identity"
        length = response.headers.get("Content-Length", "")
        self.size_bytes = int(length) if length.isdecimal() and not encoded else None
        self._whole = _Whole(response, self._check_time)
        return self._count(self._whole.read(0, self._first_bytes))

    def _read_range(self, offset: int, length: int) -> bytes:
        response = self._ask(offset, length, {})
        try:
            if response.status_code == 416:
                return b""
            same = self._pinned or response.headers.get("ETag") == self.etag
            if response.status_code != 206 or not same:
                raise FileChanged(self.url)
            if self._span(response, offset) != self.size_bytes:
                raise FileChanged(self.url)
            return self._body(response, length)
        finally:
            response.close()

    def _ask(self, offset: int, length: int, more: Mapping[str, str]) -> httpx2.Response:
        """Send one request; the body is not read yet."""
        self._check_time()
        asked = {"Range": f"bytes={offset}-{offset + length - 1}"}
        return ask(self._client, self.url, self._access, asked | dict(more), passed=(304, 416))

    def _span(self, response: httpx2.Response, offset: int) -> int | None:
        """The size of the whole file, after a look whether the right part of it comes."""
        if encoding_of(response) != "identity":
            raise self._nonsense(f"compresses parts of files ({encoding_of(response)})")
        sent = response.headers.get("Content-Range", "")
        found = _RANGE.fullmatch(sent)
        if found is None or int(found[1]) != offset or int(found[2]) < offset:
            raise self._nonsense(f"was asked for bytes from {offset} on and sends {sent[:60]!r}")
        return None if found[3] == "*" else int(found[3])

    def _body(self, response: httpx2.Response, most: int) -> bytes:
        taken = bytearray()
        try:
            for chunk in response.iter_raw():
                self._check_time()
                taken += chunk[: most - len(taken)]
                if len(taken) >= most:
                    break
        finally:
            response.close()
        return self._count(bytes(taken))

    def _count(self, piece: bytes) -> bytes:
        self._fetched(len(piece))
        return piece

    def _check_time(self) -> None:
        if time.monotonic() > self._deadline:
            raise ModelUnusable(
                f"{shown(self.url)} did not give its header within {TOTAL_SECONDS:.0f} seconds.",
                hint="Try again when the connection is faster.",
            )

    def _nonsense(self, what: str) -> ModelUnusable:
        return ModelUnusable(
            f"The server of {shown(self.url)} {what}.",
            hint="It does not answer range requests as it should; download the file by hand.",
        )


class _Whole:
    """The answer of a server without ranges, read on as far as it is asked for."""

    def __init__(self, response: httpx2.Response, check_time: Callable[[], None]) -> None:
        self._response = response
        self._chunks: Iterator[bytes] = response.iter_bytes()
        self._check_time = check_time
        self._position = 0
        self._kept = b""

    def read(self, offset: int, length: int) -> bytes:
        assert offset == self._position, "a stream is read in order"
        taken = bytearray(self._kept)
        while len(taken) < length and (chunk := next(self._chunks, b"")):
            self._check_time()
            taken += chunk
        self._kept = bytes(taken[length:])
        self._position += min(len(taken), length)
        return bytes(taken[:length])

    def close(self) -> None:
        self._response.close()
