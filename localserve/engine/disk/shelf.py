"""One model's records: asked and changed by its engine's thread, written and read by others.

Between the engine, which never waits for a disk, and the folder, whose every call may block. What
waits to be written is bounded in bytes. A disk that is full or broken is told of once; serving goes
on without it.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from localserve.engine.disk.folder import PrefixFolder
from localserve.engine.disk.index import Found, RecordIndex
from localserve.engine.disk.record import (
    DIGEST_BYTES,
    VERSION,
    Damaged,
    Payload,
    Record,
    root_key,
)
from localserve.engine.prefixes import TokenArray
from localserve.engine.spelling import Plain

log = logging.getLogger(__name__)

QUEUE_BYTES: Final = 64 << 20
"""What may wait to be written; a single record may be larger where nothing else waits."""

LARGEST_BYTES: Final = 256 << 20
"""Of one record."""

READERS: Final = 2
"""Checksums are computed beside each other."""

RETRY_SECONDS: Final = 600.0
"""How long nothing is written after the disk refused."""

Delivery = Callable[[list[Payload] | None], None]
"""Gets what was read, on a thread of the shelf's; None where it could not be."""


class Shelf:
    """The records of one model, run in one way. Made where blocking is no harm: it looks through
    the folder.

    `identity` says all that decides what a state means; it is JSON. `cuttable` False stands for a
    model whose sequences can go on only from checkpoints.

    Raises: OSError, where the folder cannot be used.
    """

    def __init__(
        self,
        folder: PrefixFolder,
        identity: Mapping[str, object],
        *,
        cuttable: bool,
        name: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        document = json.dumps({**identity, "layout": VERSION}, sort_keys=True)
        self._namespace = hashlib.blake2b(document.encode(), digest_size=DIGEST_BYTES).digest()
        self._folder = folder
        self._name = name
        self._clock = clock
        self._index = RecordIndex(cuttable=cuttable)
        folder.prepare(self._namespace)
        for record in folder.records(self._namespace):
            self._index.add(record)
        self._changed = threading.Condition()
        self._unwritten: dict[bytes, Sequence[Payload]] = {}
        self._queued = 0
        self._refused_until = float("-inf")
        self._told = False
        self._closed = False
        self._read_rate: float | None = None
        self._writer = ThreadPoolExecutor(1, f"disk-{name}")
        self._readers = ThreadPoolExecutor(READERS, f"disk-{name}-read")

    def __len__(self) -> int:
        """How many records there are of this model."""
        return len(self._index)

    def __contains__(self, key: object) -> bool:
        return key in self._index

    @property
    def limit_bytes(self) -> int:
        """What all records may take, of all models."""
        return self._folder.limit_bytes

    @property
    def size_bytes(self) -> int:
        """What the records of this model take on disk. Any thread."""
        return self._index.size_bytes

    # What the engine asks

    def find(self, scope: str, tokens: TokenArray, plain: Plain | None = None) -> Found | None:
        """The records that hold the longest beginning of `tokens`; with `plain`, in whatever ids
        stand for the same text."""
        return self._index.longest(root_key(self._namespace, scope), tokens, plain)

    def follow(self, scope: str, tokens: TokenArray) -> tuple[bytes, tuple[Record, ...]]:
        """The key for the next record of just these tokens, and the records that it follows."""
        return self._index.follow(root_key(self._namespace, scope), tokens)

    def read_seconds(self, size: int) -> float | None:
        """How long it should take to read so many bytes; None before anything was read."""
        return size / self._read_rate if self._read_rate else None

    def takes(self, size: int) -> bool:
        """Whether a record of so many bytes would be taken now."""
        with self._changed:
            return self._takes(size)

    @property
    def works(self) -> bool:
        """Whether records are taken at all: not just after the disk refused one."""
        return not self._closed and self._clock() >= self._refused_until

    @property
    def largest_bytes(self) -> int:
        """The most that one record may take: others are to have room beside it."""
        return min(LARGEST_BYTES, self.limit_bytes // 2)

    def _takes(self, size: int) -> bool:
        fits = not self._queued or self._queued + size <= QUEUE_BYTES
        return fits and self.works and size <= self.largest_bytes

    # What is done beside it

    def write(self, record: Record, payloads: Sequence[Payload]) -> bool:
        """Write a record soon; False where `takes` says no. It counts as there at once."""
        with self._changed:
            if record.key in self._unwritten or not self._takes(record.size_bytes):
                return False
            self._queued += record.size_bytes
            self._unwritten[record.key] = payloads
        self._index.add(record)
        self._writer.submit(self._write, record, payloads)
        return True

    def touch(self, records: Sequence[Record]) -> None:
        """Count records, one behind the other, as used now, soon.

        The last one is touched first: what others follow must not go before them.
        """
        if records and not self._closed:
            self._writer.submit(self._touch, records)

    def read(self, record: Record, deliver: Delivery) -> None:
        """Read a record and check it, soon."""
        if self._closed:
            deliver(None)
        else:
            self._readers.submit(self._read, record, deliver)

    def discard(self, record: Record, why: str) -> None:
        """Forget a record that is of no use, and its file."""
        log.warning("%s: a kept prefix on disk is left out and removed: %s", self._name, why)
        self._index.remove(record.key)
        if not self._closed:
            self._writer.submit(self._folder.remove, self._namespace, record.key)

    def wait_for_room(self, seconds: float) -> bool:
        """Wait until all is written that waits, for so long at most; whether more is taken then."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queued, seconds) and self.works

    def close(self, seconds: float) -> None:
        """Write what waits, for so long at most. Nothing is taken from now on.

        All of these are called on one thread, the engine's.
        """
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: not self._queued, seconds)
        self._writer.shutdown(wait=False, cancel_futures=True)
        self._readers.shutdown(wait=False, cancel_futures=True)

    # On the shelf's threads

    def _write(self, record: Record, payloads: Sequence[Payload]) -> None:
        written = False
        try:
            written = self._write_now(record, payloads)
        except OSError as failure:
            self._refuse(failure)
        except Exception:
            log.exception("%s: a kept prefix could not be written", self._name)
            self._refused_until = self._clock() + RETRY_SECONDS
        finally:
            if not written:
                self._index.remove(record.key)
            with self._changed:
                del self._unwritten[record.key]
                self._queued -= record.size_bytes
                self._changed.notify_all()

    def _write_now(self, record: Record, payloads: Sequence[Payload]) -> bool:
        gone = self._folder.make_room(record.file_bytes)
        if gone is None:
            return False
        for namespace, key in gone:
            if namespace == self._namespace:
                self._index.remove(key)
        self._folder.write(self._namespace, record, payloads)
        self._told = False
        for other in self._index.outgrown(record):
            self._index.remove(other.key)
            self._folder.remove(self._namespace, other.key)
        return True

    def _refuse(self, failure: OSError) -> None:
        self._refused_until = self._clock() + RETRY_SECONDS
        if not self._told:
            self._told = True
            log.warning(
                "%s: kept prefixes cannot be written to disk: %s. Serving goes on without; free"
                " some space, or switch this off by LOCALSERVE_PREFIX_DISK_BYTES=0.",
                self._name,
                failure.strerror or failure,
            )

    def _touch(self, records: Sequence[Record]) -> None:
        for record in reversed(records):
            gone = not self._folder.touch(self._namespace, record.key)
            if gone and record.key not in self._unwritten:
                self._index.remove(record.key)

    def _read(self, record: Record, deliver: Delivery) -> None:
        payloads: list[Payload] | None = None
        try:
            payloads = self._payloads(record)
        except (OSError, Damaged):
            self._index.remove(record.key)
        except Exception:
            log.exception("%s: a kept prefix could not be read", self._name)
            self._index.remove(record.key)
        deliver(payloads)

    def _payloads(self, record: Record) -> list[Payload]:
        if (unwritten := self._unwritten.get(record.key)) is not None:
            return list(unwritten)
        began = time.monotonic()
        payloads = self._folder.read(self._namespace, record)
        self._read_rate = record.size_bytes / max(1e-6, time.monotonic() - began)
        return payloads
