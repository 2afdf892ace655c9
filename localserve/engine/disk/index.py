"""Which records of one model there are, by what they follow, and what of a prompt they hold.

In memory, so that asking costs the engine thread nothing to speak of. Knows no files. Any thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from localserve.engine.disk.record import Record
from localserve.engine.prefixes import TokenArray, common_length
from localserve.engine.spelling import Plain, align

MOST_CHILDREN = 256
"""Of the records that follow the same one, so many are looked at, those added last: who sends ten
thousand conversations makes nobody wait."""

HEAD_TOKENS = 32
"""The first tokens of all these are compared at once. Prompts begin with the same few, so many."""

NO_TOKEN, NO_WANTED_TOKEN = -1, -2
"""What stands in a head where there are no tokens any more; never equal."""


@dataclass(frozen=True, slots=True)
class Found:
    """Records one behind the other, whose first `held` tokens stand for the first `replaced` ones
    of what was asked for."""

    records: tuple[Record, ...]
    held: int
    replaced: int

    @property
    def tokens(self) -> TokenArray:
        """What the records hold, whole. Shape (end of the last one,)."""
        return np.concatenate([record.tokens for record in self.records])


@dataclass(frozen=True, slots=True)
class _Path:
    """Records as a list from the last to the first."""

    record: Record
    before: _Path | None

    def records(self) -> tuple[Record, ...]:
        path: _Path | None = self
        found: deque[Record] = deque()
        while path is not None:
            found.appendleft(path.record)
            path = path.before
        return tuple(found)


class _Children:
    """The records that follow the same one, in the order in which they were added."""

    def __init__(self) -> None:
        self.records: dict[bytes, Record] = {}
        self._newest: tuple[list[Record], TokenArray] | None = None

    def add(self, record: Record) -> None:
        self.records[record.key] = record
        self._newest = None

    def remove(self, key: bytes) -> None:
        del self.records[key]
        self._newest = None

    def newest(self) -> tuple[list[Record], TokenArray]:
        """MOST_CHILDREN of them, and their first tokens. Shape (records, HEAD_TOKENS)."""
        if self._newest is None:
            newest = list(islice(reversed(self.records.values()), MOST_CHILDREN))
            heads = [_head(record.tokens, NO_TOKEN) for record in newest]
            self._newest = newest, np.stack(heads)
        return self._newest


def _head(tokens: TokenArray, beyond: int) -> TokenArray:
    head = np.full(HEAD_TOKENS, beyond, np.int32)
    head[: len(tokens)] = tokens[:HEAD_TOKENS]
    return head


class RecordIndex:
    """All records of one model. With `cuttable` False each stands for a sequence that can go on
    only from where one of its parts ends."""

    def __init__(self, *, cuttable: bool) -> None:
        self._cuttable = cuttable
        self._lock = threading.Lock()
        self._children: dict[bytes, _Children] = {}
        self._records: dict[bytes, Record] = {}
        self._size_bytes = 0

    def __contains__(self, key: object) -> bool:
        return key in self._records

    def __len__(self) -> int:
        return len(self._records)

    @property
    def size_bytes(self) -> int:
        """What the files of all records take."""
        return self._size_bytes

    def add(self, record: Record) -> None:
        """Harmless where it is there already."""
        with self._lock:
            if record.key in self._records:
                return
            self._size_bytes += record.file_bytes
            self._records[record.key] = record
            self._children.setdefault(record.parent, _Children()).add(record)

    def remove(self, key: bytes) -> None:
        """Harmless where there is none of that key."""
        with self._lock:
            record = self._records.pop(key, None)
            if record is None:
                return
            self._size_bytes -= record.file_bytes
            siblings = self._children[record.parent]
            siblings.remove(key)
            if not siblings.records:
                del self._children[record.parent]

    def follow(self, root: bytes, tokens: TokenArray) -> tuple[bytes, tuple[Record, ...]]:
        """The records, one behind the other, that hold just the first of these tokens and are
        longest together; and the key that the next one would follow."""
        best: _Path | None = None
        for path, at in self._whole(root, tokens, None):
            if best is None or path.record.end > best.record.end:
                assert at == path.record.end
                best = path
        return (best.record.key, best.records()) if best else (root, ())

    def longest(self, root: bytes, tokens: TokenArray, plain: Plain | None = None) -> Found | None:
        """The records that hold the longest beginning of `tokens`; None where there are none.

        With `plain`, other ids may stand for the same text.
        """
        if not self._cuttable:
            return self._longest_uncut(root, tokens)
        best: tuple[int, _Path | None, int] = 0, None, 0
        ends: list[tuple[bytes, int, _Path | None]] = [(root, 0, None)]
        for path, at in self._whole(root, tokens, plain):
            ends.append((path.record.key, at, path))
            best = max(best, (at, path, path.record.end), key=lambda one: one[0])
        for key, at, before in ends:
            for record, equal in self._following(key, tokens[at:]):
                held, replaced = _common(record.tokens, tokens[at:], equal, plain)
                if at + replaced > best[0]:
                    best = at + replaced, _Path(record, before), record.start + held
        replaced, found, held = best
        return Found(found.records(), held, replaced) if found else None

    def outgrown(self, record: Record) -> list[Record]:
        """Records of a model that cannot be cut which `record` goes on from."""
        if self._cuttable:
            return []
        return [
            other
            for other, equal in self._following(record.parent, record.tokens)
            if other.end < record.end and equal == len(other.tokens)
        ]

    def _longest_uncut(self, root: bytes, tokens: TokenArray) -> Found | None:
        best: Found | None = None
        for record, common in self._following(root, tokens):
            length = max((part.length for part in record.parts if part.length <= common), default=0)
            if length > (best.held if best else 0):
                best = Found((record,), length, length)
        return best

    def _whole(
        self, root: bytes, tokens: TokenArray, plain: Plain | None
    ) -> Iterator[tuple[_Path, int]]:
        """All records that stand whole within the beginning of `tokens`, behind others that do;
        each with how many of `tokens` that comes to."""
        open_ends: list[tuple[bytes, int, _Path | None]] = [(root, 0, None)]
        while open_ends:
            key, at, before = open_ends.pop()
            for record, equal in self._following(key, tokens[at:]):
                held, replaced = _common(record.tokens, tokens[at:], equal, plain)
                if held == len(record.tokens):
                    path = _Path(record, before)
                    open_ends.append((record.key, at + replaced, path))
                    yield path, at + replaced

    def _following(self, key: bytes, tokens: TokenArray) -> Iterator[tuple[Record, int]]:
        """The newest records that follow, each with how many tokens it has in common with these."""
        with self._lock:
            children = self._children.get(key)
            records, heads = children.newest() if children else ([], None)
        if heads is None:
            return
        differs = heads != _head(tokens, NO_WANTED_TOKEN)
        for record, at, ends in zip(
            records, differs.argmax(axis=1).tolist(), differs.any(axis=1).tolist(), strict=True
        ):
            if ends:
                yield record, at
            else:
                rest = common_length(record.tokens[HEAD_TOKENS:], tokens[HEAD_TOKENS:])
                yield record, HEAD_TOKENS + rest


def _common(
    held: TokenArray, wanted: TokenArray, equal: int, plain: Plain | None
) -> tuple[int, int]:
    """How much of `held` stands for how much of `wanted`; the first `equal` tokens are the same."""
    if plain is None:
        return equal, equal
    more_held, more_wanted = align(held[equal:], wanted[equal:], plain)
    return equal + more_held, equal + more_wanted
