"""The part of one file that is here: FILE.ID.partial beside its place, until every byte is right.

Bytes are appended in order, so whatever ends the process leaves a part to go on from. ID changes
with the content: a part of another version is never continued. One that is whole and checked waits
as FILE.ID.whole.partial until all that belong together are, so that no model is half of one version
and half of another. Knows nothing of where bytes come from. Blocking disk access; one thread at a
time.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Final

from localserve.catalog.remote import RemoteFile
from localserve.errors import ModelUnusable

MARGIN_BYTES: Final = 256 << 20
"""What a download leaves free on the disk, or does not begin."""

LAST_BYTES: Final = 64 << 20
"""A download stops where less is free, because others filled the disk meanwhile."""

_LOOK_EVERY_BYTES: Final = 16 << 20
_HASHED_AT_ONCE: Final = 1 << 20
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)

ON_FULL: Final = (
    "Free some space and run the same command again, which goes on where it ended; or set"
    " LOCALSERVE_MODELS_DIR to a folder on a larger disk."
)


def partial_path(final: Path, file: RemoteFile) -> Path:
    """Where the bytes lie until all are there."""
    return final.with_name(f"{final.name}.{file.content_id[:16]}.partial")


def whole_path(final: Path, file: RemoteFile) -> Path:
    """Where the file lies, once it was checked, until those are that belong to it."""
    return final.with_name(f"{final.name}.{file.content_id[:16]}.whole.partial")


def bytes_here(final: Path, file: RemoteFile) -> int:
    """How many bytes of the file need not be fetched, if those that belong to it are missing: what
    is in its place counts only where a checksum can tell of which version it is."""
    known = file.checksum is not None and is_here(final, file)
    if known or is_whole(final, file):
        return file.size_bytes
    partial = partial_path(final, file)
    size_bytes = partial.stat().st_size if partial.is_file() else 0
    return size_bytes if size_bytes <= file.size_bytes and file.resumable else 0


def is_here(final: Path, file: RemoteFile) -> bool:
    """Whether a whole file of that size is in its place."""
    return final.is_file() and final.stat().st_size == file.size_bytes


def is_whole(final: Path, file: RemoteFile) -> bool:
    """Whether the file waits for those that belong to it."""
    return file.resumable and whole_path(final, file).is_file()


def is_published(final: Path, file: RemoteFile) -> bool:
    """Whether what is in its place has the file's checksum; reads all of it."""
    if file.checksum is None:
        return False
    digest = file.checksum.start(file.size_bytes)
    with final.open("rb") as stream:
        while chunk := stream.read(_HASHED_AT_ONCE):
            digest.update(chunk)
    return digest.hexdigest() == file.checksum.digest


def place(files: Sequence[tuple[Path, RemoteFile]]) -> None:
    """Move files, which are whole, into their places. What lay there goes before: wherever this
    ends, one is missing until all are of one version."""
    for final, _ in files[1:]:
        final.unlink(missing_ok=True)
    for final, file in files:
        os.replace(whole_path(final, file), final)


class Partial:
    """The part of one file, open for as long as the block lasts.

    `size_bytes` of it are here. What was here before is read once, for the checksum; `say` is told.
    """

    def __init__(self, final: Path, file: RemoteFile, say: Callable[[str], object]) -> None:
        self.size_bytes = 0
        self._final = final
        self._file = file
        self._path = partial_path(final, file)
        self._say = say
        self._unlooked = 0

    def __enter__(self) -> Partial:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._forget_other_versions()
        self._stream = FileIO(self._path, "ab+")
        try:
            self._take_over()
        except BaseException:
            self._stream.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()

    def append(self, chunk: bytes) -> None:
        """Raises: ModelUnusable, where the disk is full or holds no larger files."""
        self._look_at_the_disk(len(chunk))
        rest = memoryview(chunk)
        try:
            while rest:
                written = self._stream.write(rest)
                self._count(rest[:written])
                rest = rest[written:]
        except OSError as error:
            if error.errno in _FULL:
                raise self._disk_full() from error
            if error.errno == errno.EFBIG:
                raise self._too_large() from error
            raise

    def restart(self) -> None:
        """Forget what is here."""
        self._stream.truncate(0)
        self._start_hash()

    def finish(self) -> None:
        """Check the complete file, which waits from now on to be placed.

        Raises: ModelUnusable, where its checksum is wrong; the bytes are deleted then.
        """
        checksum = self._file.checksum
        if self._hash is not None and checksum is not None:
            digest = self._hash.hexdigest()
            if digest != checksum.digest:
                self._stream.close()
                self._path.unlink()
                raise ModelUnusable(
                    f"{self._final} is not what was published: its {checksum.kind} is {digest},"
                    f" not {checksum.digest}. It is deleted.",
                    hint="Run the same command again. If it happens again, the file or what"
                    " stands between (a proxy, a mirror) is damaged.",
                )
        os.fsync(self._stream.fileno())
        self._stream.close()
        os.replace(self._path, whole_path(self._final, self._file))

    def _take_over(self) -> None:
        size_bytes = os.fstat(self._stream.fileno()).st_size
        self._start_hash()
        if size_bytes > self._file.size_bytes or (size_bytes and not self._file.resumable):
            self._say(f"{self._final.name} starts again: nothing tells what its part is of")
            self.restart()
        elif size_bytes:
            self._hash_what_is_here(size_bytes)

    def _hash_what_is_here(self, size_bytes: int) -> None:
        checked = ", which are read again for the checksum" if self._hash is not None else ""
        self._say(f"going on after {_megabytes(size_bytes)} of {self._final.name}{checked}")
        self._stream.seek(0)
        while chunk := self._stream.read(_HASHED_AT_ONCE):
            self._count(chunk)

    def _start_hash(self) -> None:
        self.size_bytes = 0
        checksum = self._file.checksum
        self._hash = checksum.start(self._file.size_bytes) if checksum else None

    def _count(self, chunk: bytes | memoryview) -> None:
        self.size_bytes += len(chunk)
        if self._hash is not None:
            self._hash.update(chunk)

    def _forget_other_versions(self) -> None:
        prefix = f"{self._final.name}."
        mine = (self._path, whole_path(self._final, self._file))
        for other in sorted(self._path.parent.iterdir()):
            named = other.name.startswith(prefix) and other.name.endswith(".partial")
            if named and other not in mine:
                size = _megabytes(other.stat().st_size)
                other.unlink()
                self._say(
                    f"{self._final.name} has changed since its download was cut: it starts again"
                    f" ({size} of the old version are deleted)"
                )

    def _look_at_the_disk(self, coming_bytes: int) -> None:
        """Raises: ModelUnusable, where so little is free that other programs would suffer."""
        self._unlooked += coming_bytes
        if self._unlooked < _LOOK_EVERY_BYTES:
            return
        self._unlooked = 0
        if shutil.disk_usage(self._path.parent).free < LAST_BYTES:
            raise self._disk_full()

    def _disk_full(self) -> ModelUnusable:
        total = self._file.size_bytes
        free = shutil.disk_usage(self._path.parent).free
        return ModelUnusable(
            f"The disk is full: {_megabytes(self.size_bytes)} of {_megabytes(total)} of"
            f" {self._final.name} are in {self._final.parent},"
            f" {_megabytes(total - self.size_bytes)} are missing, {_megabytes(free)} are free.",
            hint=ON_FULL,
        )

    def _too_large(self) -> ModelUnusable:
        return ModelUnusable(
            f"The file system of {self._final.parent} holds no file of"
            f" {self._file.size_bytes / 1e9:.1f} GB ({self._final.name}).",
            hint="Set LOCALSERVE_MODELS_DIR to a folder on a disk that does (FAT32 ends at 4 GB).",
        )


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"
