"""Downloads from a hub on localhost: what arrives, what is resumed, what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from localserve.catalog.download import SPARE_DISK_BYTES, download
from localserve.catalog.locate import find_model
from localserve.catalog.registry import Registry
from localserve.catalog.spec import HubFile, LocalFile, ModelSpec
from localserve.config import Settings, read_settings
from localserve.errors import ModelUnusable
from tests.catalog.hub_server import Hub, serve_hub

CONTENT = b"GGUF" + bytes(range(256)) * 9000
SPEC = ModelSpec("tiny", HubFile("owner/tiny-GGUF"))


@pytest.fixture(autouse=True)
def _a_token_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_test")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as hub:
        hub.repositories["owner/tiny-GGUF"] = {
            "README.md": b"read",
            "tiny-Q8_0.gguf": b"GGUF" * 9,
            "tiny-Q4_K_M.gguf": CONTENT,
            "mmproj-tiny-Q4_K_M.gguf": b"GGUF",
        }
        yield hub


@pytest.fixture
def settings(hub: Hub, tmp_path: Path) -> Settings:
    return _settings(hub.url, tmp_path)


def _settings(endpoint: str, tmp_path: Path, **more: object) -> Settings:
    environ = {
        "LOCALSERVE_HOME": str(tmp_path),
        "HF_HOME": str(tmp_path / "hf"),
        "HF_ENDPOINT": endpoint,
    }
    return read_settings(more, environ)


def _path(spec: ModelSpec) -> Path:
    assert isinstance(spec.source, LocalFile)
    return spec.source.path


def test_a_download_brings_the_default_quantization_and_reports_every_byte(
    hub: Hub, settings: Settings
) -> None:
    reports: list[tuple[int, int]] = []
    spec = download(SPEC, None, settings, lambda done, total: reports.append((done, total)))
    assert _path(spec).read_bytes() == CONTENT
    assert _path(spec) == settings.models_dir / "owner" / "tiny-GGUF" / "tiny-Q4_K_M.gguf"
    assert reports[0] == (0, len(CONTENT))
    assert reports[-1] == (len(CONTENT), len(CONTENT))
    assert reports == sorted(reports)
    assert hub.authorizations == {("127.0.0.1", "Bearer hf_test")}
    assert not list(settings.models_dir.rglob("*.partial"))


def test_what_was_downloaded_is_found_by_name_and_not_downloaded_again(
    hub: Hub, settings: Settings
) -> None:
    first = download(SPEC, None, settings)
    assert find_model("TINY", Registry((SPEC,)), settings) == first
    asked = len([line for line in hub.requests if "/resolve/" in line])
    assert download(SPEC, None, settings) == first
    assert len([line for line in hub.requests if "/resolve/" in line]) == asked


def test_a_quantization_may_be_asked_for_in_any_case(hub: Hub, settings: Settings) -> None:
    assert _path(download(SPEC, "q8_0", settings)).name == "tiny-Q8_0.gguf"


def test_a_quantization_that_is_not_there_is_refused_with_those_that_are(
    hub: Hub, settings: Settings
) -> None:
    with pytest.raises(ModelUnusable, match="no Q5_K_M of 'tiny'") as caught:
        download(SPEC, "Q5_K_M", settings)
    assert caught.value.hint == "It has Q4_K_M, Q8_0."


def test_all_shards_are_downloaded_and_counted_together(hub: Hub, settings: Settings) -> None:
    names = [f"sub/big-Q4_K_M-{n:05}-of-00003.gguf" for n in (1, 2, 3)]
    hub.repositories["owner/big"] = dict.fromkeys(names, b"GGUF" + b"x" * 1000)
    reports: list[tuple[int, int]] = []
    source = HubFile("owner/big", "sub/big-{quantization}.gguf")
    spec = download(
        ModelSpec("big", source), None, settings, lambda done, total: reports.append((done, total))
    )
    assert _path(spec).name == "big-Q4_K_M-00001-of-00003.gguf"
    assert reports[-1] == (3012, 3012)
    assert all((settings.models_dir / "owner" / "big" / name).is_file() for name in names)


def test_a_connection_that_is_cut_goes_on_where_it_ended(hub: Hub, settings: Settings) -> None:
    hub.cut_after_bytes = [1_000_000, 500_000]
    spec = download(SPEC, None, settings, retry_seconds=0)
    assert _path(spec).read_bytes() == CONTENT
    ranges = [line.split()[1] for line in hub.requests if line.endswith("-")]
    assert ranges == ["bytes=1000000-", "bytes=1500000-"]


def test_a_connection_that_stays_cut_is_an_error_and_the_next_try_goes_on(
    hub: Hub, settings: Settings
) -> None:
    hub.cut_after_bytes = [1_000_000, 0, 0, 0, 0]
    with pytest.raises(ModelUnusable, match=r"connection to .* failed") as caught:
        download(SPEC, None, settings, retry_seconds=0)
    assert "goes on where it ended" in caught.value.hint
    with pytest.raises(ModelUnusable, match="not on this disk"):
        find_model("tiny", Registry((SPEC,)), settings)
    hub.requests.clear()
    assert _path(download(SPEC, None, settings)).read_bytes() == CONTENT
    assert [line.split()[1] for line in hub.requests if "/resolve/" in line] == ["bytes=1000000-"]


def test_a_server_that_knows_no_ranges_sends_the_whole_file_again(
    hub: Hub, settings: Settings
) -> None:
    hub.ranges = False
    hub.cut_after_bytes = [1_000_000]
    assert _path(download(SPEC, None, settings, retry_seconds=0)).read_bytes() == CONTENT


def test_a_part_of_another_version_of_the_file_is_not_continued(
    hub: Hub, settings: Settings
) -> None:
    hub.cut_after_bytes = [1_000_000, 0, 0, 0, 0]
    with pytest.raises(ModelUnusable):
        download(SPEC, None, settings, retry_seconds=0)
    changed = CONTENT[::-1].replace(b"FUGG", b"") + b"____"
    hub.repositories["owner/tiny-GGUF"]["tiny-Q4_K_M.gguf"] = b"GGUF" + changed
    assert _path(download(SPEC, None, settings)).read_bytes() == b"GGUF" + changed


def test_a_callback_that_raises_ends_the_download_and_keeps_the_part(
    hub: Hub, settings: Settings
) -> None:
    def stop(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(SPEC, None, settings, stop)
    assert [path.stat().st_size for path in settings.models_dir.rglob("*.partial")] != [0]
    assert _path(download(SPEC, None, settings)).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "code", "message", "hint"),
    [
        (403, "GatedRepo", "accepted its terms", "HF_TOKEN"),
        (401, "GatedRepo", "accepted its terms", "HF_TOKEN"),
        (403, "", "HTTP 403", "HF_TOKEN"),
        (503, "", "HTTP 503", "Try again later"),
        (404, "EntryNotFound", "HTTP 404", "Try again later"),
    ],
)
def test_a_refusal_says_what_to_do(
    hub: Hub, settings: Settings, status: int, code: str, message: str, hint: str
) -> None:
    hub.refuse = (status, code)
    with pytest.raises(ModelUnusable, match=message) as caught:
        download(SPEC, None, settings, retry_seconds=0)
    assert hint in caught.value.hint


def test_a_repository_that_does_not_exist_is_named(hub: Hub, settings: Settings) -> None:
    with pytest.raises(ModelUnusable, match="no repository owner/none, or it is private"):
        download(ModelSpec("none", HubFile("owner/none")), None, settings)


def test_a_repository_without_a_matching_file_is_refused(hub: Hub, settings: Settings) -> None:
    spec = ModelSpec("tiny", HubFile("owner/tiny-GGUF", "other-{quantization}.gguf"))
    with pytest.raises(ModelUnusable, match="has no GGUF file for 'tiny'"):
        download(spec, None, settings)


def test_a_file_name_that_leaves_the_folder_is_not_downloaded(hub: Hub, settings: Settings) -> None:
    hub.repositories["owner/tiny-GGUF"] = {"../../evil-Q4_K_M.gguf": CONTENT}
    with pytest.raises(ModelUnusable, match="has no GGUF file"):
        download(SPEC, None, settings)


def test_a_full_disk_is_found_out_before_the_first_byte_with_numbers(
    hub: Hub, settings: Settings
) -> None:
    free = shutil.disk_usage(settings.models_dir.parent.parent).free
    hub.sizes["tiny-Q4_K_M.gguf"] = free - SPARE_DISK_BYTES + (10 << 30)
    with pytest.raises(ModelUnusable, match=r"needs [\d.]+ GB in .*; [\d.]+ GB are free"):
        download(SPEC, None, settings)
    assert not any("/resolve/" in line for line in hub.requests)


def test_a_file_that_is_longer_than_it_said_is_refused(hub: Hub, settings: Settings) -> None:
    hub.sizes["tiny-Q4_K_M.gguf"] = 100
    with pytest.raises(ModelUnusable, match="sends more than the 100 bytes"):
        download(SPEC, None, settings)


def test_the_token_is_not_sent_to_where_the_hub_keeps_its_files(
    hub: Hub, settings: Settings
) -> None:
    hub.redirect_to = hub.url.replace("127.0.0.1", "localhost")
    assert _path(download(SPEC, None, settings)).read_bytes() == CONTENT
    assert hub.authorizations == {("127.0.0.1", "Bearer hf_test"), ("localhost", None)}


def test_an_answer_that_is_not_a_hubs_is_an_error(hub: Hub, settings: Settings) -> None:
    hub.garbled = True
    with pytest.raises(ModelUnusable, match="did not answer as a hub does") as caught:
        download(SPEC, None, settings)
    assert "HF_ENDPOINT" in caught.value.hint


def test_two_downloads_of_one_repository_do_not_mix(hub: Hub, settings: Settings) -> None:
    def start_another(done: int, total: int) -> None:
        with pytest.raises(ModelUnusable, match="Another process downloads"):
            download(SPEC, None, settings)

    assert _path(download(SPEC, None, settings, start_another)).read_bytes() == CONTENT


def test_offline_nothing_is_asked_of_the_network(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(ModelUnusable) as caught:
        download(SPEC, None, _settings(hub.url, tmp_path, offline=True))
    assert "--offline" in caught.value.hint
    assert hub.requests == []


def test_a_hub_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with serve_hub() as gone:
        url = gone.url
    with pytest.raises(ModelUnusable, match=f"connection to {url} failed"):
        download(SPEC, None, _settings(url, tmp_path), retry_seconds=0)


def test_a_local_model_is_given_back_as_it_is(settings: Settings) -> None:
    local = ModelSpec("here", LocalFile(Path("/x.gguf")))
    assert download(local, None, settings) is local
