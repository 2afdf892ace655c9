"""A package -> the models folder: all its files as one download, one process at a time.

Knows nothing of what is in the files. Blocking: call it from a worker thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, assert_never

from localserve.catalog.hub import hub_access, hub_errors
from localserve.catalog.locate import check_file
from localserve.catalog.package import Package, check_disk
from localserve.catalog.partial import is_here, is_published, is_whole, place
from localserve.catalog.ranges import FileChanged
from localserve.catalog.remote import RemoteFile
from localserve.catalog.remove import LOCK
from localserve.catalog.sources import UrlFile
from localserve.catalog.spec import HubFile
from localserve.catalog.transfer import transfer
from localserve.catalog.url_files import list_url_files, url_access, url_errors
from localserve.catalog.web import Access, shown
from localserve.config import Settings
from localserve.errors import ModelUnusable

if TYPE_CHECKING:
    import httpx2

MOST_CHANGES: Final = 3


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes that are on the disk, of those of all files together."""

    done_bytes: int
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Said:
    """Something that the user should know, in a line."""

    text: str


Tell = Callable[[Progress | Said], object]
"""What it raises ends the download; the part that is there is kept."""


def download(package: Package, settings: Settings, tell: Tell = lambda told: None) -> Path:
    """Bring all files of the package to this disk; the path of the first.

    What is there already is kept, a file that was cut goes on where it ended. Shards get to their
    places when all of them are whole. Where another process downloads into the same folder, waits
    for it.
    Raises: ModelUnusable: no access, not found, disk too small or full, connection lost, wrong
    checksum. The part that is there is kept, but for a wrong checksum.
    """
    with _errors(package, settings), _only_one(package.folder, tell):
        check_disk(package)
        for _ in range(MOST_CHANGES):
            try:
                _fetch_all(package, settings, tell)
                return check_file(package.place_of(package.files[0]))
            except FileChanged:
                tell(Said(f"{package.name} has changed on its server; it starts again"))
                package = _as_it_is_now(package, settings, tell)
    raise ModelUnusable(
        f"{package.name} changed {MOST_CHANGES} times while it was downloaded.",
        hint="Try again when its upload is complete.",
    )


def _fetch_all(package: Package, settings: Settings, tell: Tell) -> None:
    import httpx2

    before = 0
    with httpx2.Client() as client:
        for files in (package.files, (package.projector,) if package.projector else ()):
            missing = _missing(package, files, tell)
            for file in files:
                if file in missing:
                    counted = _counted(tell, before, package.size_bytes)
                    _fetch(client, package, file, settings, counted)
                before += file.size_bytes
            place([(package.place_of(file), file) for file in missing])
    tell(Progress(package.size_bytes, package.size_bytes))


def _missing(package: Package, files: Sequence[RemoteFile], tell: Tell) -> list[RemoteFile]:
    """Those of the files that are not in their places. Where only some are, others have changed
    since, perhaps, or somebody has deleted them: then no size says of which version these are."""
    here = [file for file in files if is_here(package.place_of(file), file)]
    if len(here) < len(files):
        for file in list(here):
            if file.checksum is not None:
                tell(Said(f"{file.name} is here; it is read again for the checksum"))
            if not is_published(package.place_of(file), file):
                here.remove(file)
    return [file for file in files if file not in here]


def _fetch(
    client: httpx2.Client,
    package: Package,
    file: RemoteFile,
    settings: Settings,
    tell: Callable[[int | Said], object],
) -> None:
    final = package.place_of(file)
    if not is_whole(final, file):
        access = _access(package.source, file, settings)
        transfer(client, file, access, final, tell, lambda text: tell(Said(text)))


def _counted(tell: Tell, before: int, total: int) -> Callable[[int | Said], object]:
    """Adds the bytes of the files before to those of one file."""
    return lambda told: tell(Progress(before + told, total) if isinstance(told, int) else told)


def _access(source: HubFile | UrlFile, file: RemoteFile, settings: Settings) -> Access:
    match source:
        case HubFile():
            return hub_access(settings)
        case UrlFile():
            return url_access(file.url, settings)
        case other:
            assert_never(other)


def _as_it_is_now(package: Package, settings: Settings, tell: Tell) -> Package:
    """The package of an address, whose files have changed. Those of a commit never do."""
    import httpx2

    if not isinstance(package.source, UrlFile):
        url = shown(package.files[0].url)
        raise ModelUnusable(
            f"{url} does not send the size that the hub tells.",
            hint="The hub, or a mirror or proxy before it, is damaged; try again later.",
        )
    with httpx2.Client() as client:
        files = list_url_files(package.source, settings, client, lambda text: tell(Said(text)))
    return replace(package, files=files)


@contextmanager
def _only_one(folder: Path, tell: Tell) -> Iterator[None]:
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        tell(Said(f"another process downloads into {folder}; waiting for it (Ctrl-C gives up)"))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _errors(package: Package, settings: Settings) -> Iterator[None]:
    """Turn what the hub, the network and the disk refuse into what the user can do about it."""
    try:
        with _network_errors(package, settings):
            yield
    except OSError as error:
        raise ModelUnusable(
            f"The files of {package.name} cannot be written: {error.strerror or error}.",
            hint=f"Check {package.folder}, or set LOCALSERVE_MODELS_DIR to another folder.",
        ) from error


def _network_errors(package: Package, settings: Settings) -> AbstractContextManager[None]:
    on_cut = (
        "Run the same command again; it goes on where it ended. Without a network, copy the file"
        f" into {package.folder}."
    )
    match package.source:
        case HubFile() as source:
            return hub_errors(source, settings, on_cut=on_cut)
        case UrlFile() as source:
            return url_errors(source, on_cut)
        case other:
            assert_never(other)
