"""One remote file -> its header: from the cache where the file is unchanged, else by ranges.

Knows what to fetch and when to begin again; not what the headers of several files mean together.
Blocking; several threads may fetch different files at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from localserve.catalog.header_cache import HeaderCache
from localserve.catalog.patience import Patience
from localserve.catalog.ranges import FIRST_READ_BYTES, FileChanged, RangeReader
from localserve.catalog.shared_vocabulary import makes_a_whole_file, with_vocabulary_of
from localserve.catalog.web import Access, Busy, shown
from localserve.errors import ModelMalformed, ModelUnusable
from localserve.gguf.header import Header, parse

if TYPE_CHECKING:
    import httpx2

Progress = Callable[[int], object]
"""Called with the number of bytes that just came, from whatever thread fetched them."""

MOST_CHANGES = 3


@dataclass(frozen=True, slots=True)
class Target:
    """A file to read the header of.

    `name` is for messages, `key` for the cache, `first_bytes` what the first range asks for.
    `content_id`, where the hub tells it, changes with the content, so that an unchanged file need
    not be asked for; None asks the server by its etag.
    """

    name: str
    url: str
    access: Access
    key: str
    content_id: str | None = None
    size_bytes: int | None = None
    first_bytes: int = FIRST_READ_BYTES


def fetch_header(
    client: httpx2.Client,
    target: Target,
    cache: HeaderCache,
    progress: Progress = lambda count: None,
    sibling: Header | None = None,
) -> Header:
    """The header of a remote file.

    With the header of a `sibling`, another quantization of the model, a vocabulary that looks the
    same is taken over from it.
    A connection that fails, a busy server and a file that changes meanwhile are begun again, a few
    times. Raises: ModelUnusable, ModelMalformed, httpx2.TransportError, and what the target's
    `access.refused` raises.
    """
    import httpx2

    kept = cache.load(target.key, target.name)
    if kept is not None and kept.etag == target.content_id:
        return kept.header
    patience, changes = Patience(), 0
    while True:
        reader = RangeReader(
            client,
            target.url,
            target.access,
            fetched=progress,
            first_bytes=target.first_bytes,
            pinned=target.content_id is not None,
        )
        try:
            known = kept.etag if kept is not None and target.content_id is None else None
            if not reader.start(known) and kept is not None:
                return kept.header
            return _read(reader, target, cache, sibling)
        except FileChanged as error:
            changes += 1
            if changes == MOST_CHANGES:
                raise ModelUnusable(
                    f"{shown(target.url)} changed while it was read, {changes} times.",
                    hint="Try again when its upload is complete.",
                ) from error
        except (httpx2.TransportError, Busy) as error:
            patience.wait(error)
        finally:
            reader.close()


def _read(
    reader: RangeReader, target: Target, cache: HeaderCache, sibling: Header | None
) -> Header:
    size = reader.size_bytes if target.size_bytes is None else target.size_bytes
    header = _read_like(sibling, reader, target.name, size) if sibling is not None else None
    if header is None:
        header = parse(reader.read, size, target.name)
    etag = target.content_id or reader.etag
    if etag is not None:
        cache.store(target.key, etag, header)
    return header


def _read_like(sibling: Header, reader: RangeReader, name: str, size: int | None) -> Header | None:
    """The header with the sibling's vocabulary; None where that does not fit."""
    read = with_vocabulary_of(sibling, reader)
    if read is None:
        return None
    try:
        header = parse(read, size, name)
    except ModelMalformed:
        return None
    return header if makes_a_whole_file(header) else None
