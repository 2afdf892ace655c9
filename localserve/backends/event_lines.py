"""Server-sent events of another server: the data of each as it comes. Pure.

Lines are bounded: whoever sends them may send anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Final

from localserve.errors import EngineFailed

MAX_LINE_BYTES: Final = 8 << 20


async def event_data(pieces: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    """The data of every event that has some. Raises: EngineFailed (a line without an end).

    Every event of OpenAI's format is one line; comments and other fields are passed over.
    """
    rest = bytearray()
    async for piece in pieces:
        searched = len(rest)
        rest += piece
        while (end := rest.find(b"\n", searched)) >= 0:
            searched = 0
            line = bytes(rest[:end]).rstrip(b"\r")
            del rest[: end + 1]
            if line.startswith(b"data:"):
                yield line[5:].strip()
        if len(rest) > MAX_LINE_BYTES:
            raise EngineFailed(
                f"The other server sent a line of more than {MAX_LINE_BYTES >> 20} MiB."
            )
