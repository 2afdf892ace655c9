"""Files of a model on the hub -> the models folder, over plain HTTP, resumed where they were cut.

Knows nothing of what is in the files. Blocking: call it from a worker thread.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from localserve.catalog.hub import (
    CONNECT_SECONDS,
    READ_SECONDS,
    RemoteFile,
    choose_files,
    hub_errors,
    list_files,
)
from localserve.catalog.locate import check_file, repository_folder
from localserve.catalog.spec import HubFile, LocalFile, ModelSpec
from localserve.config import Settings
from localserve.errors import ModelUnusable

if TYPE_CHECKING:
    import httpx2

Progress = Callable[[int, int], None]
"""Called with the bytes that are on disk and the bytes of all files. What it raises ends the
download; the part that is there is kept."""

FRUITLESS_TRIES: Final = 4
SPARE_DISK_BYTES: Final = 64 << 20


def download(
    spec: ModelSpec,
    quantization: str | None,
    settings: Settings,
    progress: Progress = lambda done, total: None,
    *,
    retry_seconds: float = 1.0,
) -> ModelSpec:
    """Bring all files of one quantization of a hub model to this disk; the spec with a LocalFile.

    `quantization` None takes Q4_K_M, else the one nearest to it in size. A file that is there
    already is kept; one that was cut goes on where it ended. Sizes are checked, contents are not.
    Raises: ModelUnusable: offline, not found, no access, disk too small, connection lost.
    """
    if not isinstance(spec.source, HubFile):
        return spec
    if settings.offline:
        hint = "Leave --offline away, or give the path of a .gguf file."
        raise ModelUnusable(f"The model {spec.name!r} must be downloaded first.", hint=hint)
    source = spec.source
    folder = repository_folder(source, settings)
    with _errors(source, settings):
        files = choose_files(spec.name, source, list_files(source, settings), quantization)
        _check_disk(folder, files)
        with _only_one_download(folder):
            _fetch_all(files, folder, progress, retry_seconds)
    return replace(spec, source=LocalFile(check_file(folder / files[0].name)))


def _check_disk(folder: Path, files: list[RemoteFile]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    missing = sum(file.size_bytes - _bytes_there(folder, file) for file in files)
    free = shutil.disk_usage(folder).free - SPARE_DISK_BYTES
    if missing > max(free, 0):
        raise ModelUnusable(
            f"The download needs {missing / 1e9:.1f} GB in {folder}; {max(free, 0) / 1e9:.1f} GB"
            " are free.",
            hint="Free some space, set LOCALSERVE_MODELS_DIR to a larger disk, or take a smaller"
            " quantization.",
        )


def _fetch_all(
    files: list[RemoteFile], folder: Path, progress: Progress, retry_seconds: float
) -> None:
    total = sum(file.size_bytes for file in files)
    before = 0
    for file in files:
        _fetch(file, folder, _shifted(progress, before, total), retry_seconds)
        before += file.size_bytes


def _shifted(progress: Progress, before: int, total: int) -> Callable[[int], None]:
    return lambda done: progress(before + done, total)


def _fetch(
    file: RemoteFile, folder: Path, report: Callable[[int], None], retry_seconds: float
) -> None:
    """Complete one file, trying again as long as tries bring bytes; then move it in place."""
    import httpx2

    partial, fruitless = _partial(folder, file), 0
    partial.parent.mkdir(parents=True, exist_ok=True)
    while (done := _bytes_there(folder, file)) < file.size_bytes:
        report(done)
        try:
            _fetch_rest(file, partial, done, report)
        except httpx2.TransportError:
            fruitless = 0 if _bytes_there(folder, file) > done else fruitless + 1
            if fruitless >= FRUITLESS_TRIES:
                raise
            time.sleep(retry_seconds)
    report(file.size_bytes)
    if partial.exists():
        os.replace(partial, folder / file.name)


def _fetch_rest(file: RemoteFile, partial: Path, done: int, report: Callable[[int], None]) -> None:
    """Append what is missing. Raises: httpx2.TransportError, where the connection is cut."""
    import httpx2
    from huggingface_hub import get_session, get_token, hf_raise_for_status

    headers = {"Accept-Encoding": "identity", "User-Agent": "localserve"}
    if token := get_token():
        headers["Authorization"] = f"Bearer {token}"
    if done:
        headers["Range"] = f"bytes={done}-"
    timeout = httpx2.Timeout(READ_SECONDS, connect=CONNECT_SECONDS)
    with (
        get_session().stream(
            "GET", file.url, headers=headers, timeout=timeout, follow_redirects=True
        ) as response,
        partial.open("ab") as stream,
    ):
        hf_raise_for_status(response)
        if done and not _continues(response, done):
            stream.truncate(0)
            done = 0
        for chunk in response.iter_bytes():
            done += len(chunk)
            if done > file.size_bytes:
                raise ModelUnusable(
                    f"{file.url} sends more than the {file.size_bytes} bytes it should have.",
                    hint="Try again later.",
                )
            stream.write(chunk)
            report(done)
    if done < file.size_bytes:
        raise httpx2.ReadError(f"{file.size_bytes - done} bytes are missing")


def _continues(response: httpx2.Response, start: int) -> bool:
    """Whether the answer begins where it was asked to; a server may send the whole file."""
    sent = str(response.headers.get("Content-Range", ""))
    return response.status_code == 206 and sent.startswith(f"bytes {start}-")


def _partial(folder: Path, file: RemoteFile) -> Path:
    """Where the bytes lie until all are there; another content has another name."""
    return folder / f"{file.name}.{file.content_id[:16]}.partial"


def _bytes_there(folder: Path, file: RemoteFile) -> int:
    final, partial = folder / file.name, _partial(folder, file)
    if final.is_file() and final.stat().st_size == file.size_bytes:
        return file.size_bytes
    if not partial.is_file():
        return 0
    size = partial.stat().st_size
    if size > file.size_bytes:
        partial.unlink()
        return 0
    return size


@contextmanager
def _only_one_download(folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / ".download.lock", timeout=0):
            yield
    except Timeout as error:
        raise ModelUnusable(
            f"Another process downloads into {folder} already.", hint="Wait for it to end."
        ) from error


@contextmanager
def _errors(source: HubFile, settings: Settings) -> Iterator[None]:
    """Turn what the hub, the network and the disk refuse into what the user can do about it."""
    folder = repository_folder(source, settings)
    on_cut = (
        "Run the same command again; it goes on where it ended. Without a network, copy the file"
        f" into {folder}."
    )
    try:
        with hub_errors(source, settings, on_cut=on_cut):
            yield
    except OSError as error:
        raise ModelUnusable(
            f"The files of {source.repo} cannot be written: {error.strerror or error}.",
            hint=f"Check {folder}.",
        ) from error
