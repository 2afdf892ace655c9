"""One remote file -> this disk: gone on with where it was cut, tried again, checked.

Plain HTTP ranges on purpose, whatever the hub's library could do besides: a part is a prefix of the
file, so any cut can be gone on from. Knows nothing of models. Blocking.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from localserve.catalog.partial import Partial
from localserve.catalog.patience import TRIES, Patience
from localserve.catalog.ranges import FileChanged
from localserve.catalog.remote import RemoteFile
from localserve.catalog.url_files import validator_of
from localserve.catalog.web import Access, Busy, ask, encoding_of, shown
from localserve.errors import ModelUnusable

if TYPE_CHECKING:
    import httpx2

_RANGE: Final = re.compile(r"bytes (\d{1,19})-\d{1,19}/(\d{1,19}|\*)")


def transfer(
    client: httpx2.Client,
    file: RemoteFile,
    access: Access,
    final: Path,
    report: Callable[[int], object],
    say: Callable[[str], object],
) -> None:
    """Complete one file, ready to be placed; `report` gets the bytes that are here.

    Raises: FileChanged (an address whose content may change has another now), ModelUnusable (the
    disk is full, the checksum is wrong, the server answers nonsense), httpx2.TransportError,
    OSError, and what `access.refused` raises.
    """
    import httpx2

    patience = Patience(say, tries=TRIES)
    with Partial(final, file, say) as part:
        report(part.size_bytes)
        while part.size_bytes < file.size_bytes:
            before = part.size_bytes
            try:
                _fetch_rest(client, file, access, part, report, say)
            except (httpx2.TransportError, Busy) as error:
                patience.wait(error, fruitful=part.size_bytes > before)
        part.finish()


def _fetch_rest(
    client: httpx2.Client,
    file: RemoteFile,
    access: Access,
    part: Partial,
    report: Callable[[int], object],
    say: Callable[[str], object],
) -> None:
    """Append what is missing. Raises: httpx2.TransportError, where the connection is cut."""
    import httpx2

    if part.size_bytes and not file.resumable:
        _restart(part, file, say)
    asked = {}
    if part.size_bytes:
        asked["Range"] = f"bytes={part.size_bytes}-"
        if file.etag is not None:
            asked["If-Range"] = file.etag
    response = ask(client, file.url, access, asked, passed=(416,))
    try:
        _check_version(file, response)
        if part.size_bytes and not _continues(file, response, part.size_bytes):
            _restart(part, file, say)
        for chunk in response.iter_raw():
            if part.size_bytes + len(chunk) > file.size_bytes:
                raise _nonsense(file, f"sends more than the {file.size_bytes} bytes it should have")
            part.append(chunk)
            report(part.size_bytes)
    finally:
        response.close()
    if part.size_bytes < file.size_bytes:
        raise httpx2.ReadError(f"{file.size_bytes - part.size_bytes} bytes are missing")


def _check_version(file: RemoteFile, response: httpx2.Response) -> None:
    """Raises: FileChanged, ModelUnusable (what comes are not the file's bytes)."""
    if encoding_of(response) != "identity":
        raise _nonsense(file, f"compresses files ({encoding_of(response)})")
    if response.status_code == 416:
        raise FileChanged(file.url)
    if file.etag is not None and validator_of(response) != file.etag:
        raise FileChanged(file.url)


def _continues(file: RemoteFile, response: httpx2.Response, start: int) -> bool:
    """Whether the answer begins where it was asked to; a server may send the whole file."""
    if response.status_code != 206:
        return False
    sent = response.headers.get("Content-Range", "")
    found = _RANGE.fullmatch(sent)
    if found is None or int(found[1]) != start:
        raise _nonsense(file, f"was asked for bytes from {start} on and sends {sent[:60]!r}")
    if found[2] not in ("*", str(file.size_bytes)):
        raise FileChanged(file.url)
    return True


def _restart(part: Partial, file: RemoteFile, say: Callable[[str], object]) -> None:
    say(f"{file.name} starts again: its server cannot go on in the middle of a file")
    part.restart()


def _nonsense(file: RemoteFile, what: str) -> ModelUnusable:
    return ModelUnusable(
        f"The server of {shown(file.url)} {what}.",
        hint="Try again later, or download the file by hand.",
    )
