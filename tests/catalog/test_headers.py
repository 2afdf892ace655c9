"""Headers read from a hub on localhost and from plain addresses there, and how it may go wrong."""

from __future__ import annotations

import dataclasses
import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest

from localserve.catalog import ranges
from localserve.catalog.headers import (
    Repository,
    read_facts,
    read_headers,
    read_local,
)
from localserve.catalog.sources import UrlFile
from localserve.catalog.spec import HubFile, LocalFile
from localserve.config import Settings, read_settings
from localserve.errors import ModelMalformed, ModelUnusable
from tests.catalog.hub_server import Hub, serve_hub
from tests.gguf.raw import STRING, U32, Raw, pair, strings, tensor

REPO = HubFile("owner/tiny-GGUF")
WORDS = [f"word-{number:06}" for number in range(120_000)]
"""Two and a half MB of vocabulary: the header takes more than one range."""


def _model(kind: int = 0, rows: int = 4, *, words: list[str] = WORDS) -> bytes:
    keys = [
        pair("general.architecture", STRING, "llama"),
        pair("llama.block_count", U32, 1),
        strings("tokenizer.ggml.tokens", words),
    ]
    shape = (32, rows)
    size = {0: 128, 8: 34}[kind] * rows
    return Raw(keys=keys, tensors=[tensor("t", shape, kind)], data_bytes=size).build()


def _shard(number: int, count: int) -> bytes:
    keys = [
        pair("general.architecture", STRING, "llama"),
        pair("split.no", U32, number),
        pair("split.count", U32, count),
        pair("split.tensors.count", U32, count),
    ]
    return Raw(keys=keys, tensors=[tensor(f"t{number}", (32,))], data_bytes=128).build()


Q4 = _model(0, 8)
Q8 = _model(8, 16)


@pytest.fixture(autouse=True)
def _a_token_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_test")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as hub:
        hub.repositories[REPO.repo] = {
            "README.md": b"read",
            "tiny-Q8_0.gguf": Q8,
            "tiny-Q4_K_M.gguf": Q4,
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


def _asked(hub: Hub) -> list[str]:
    """The ranges that were asked for, forgotten afterwards."""
    found = [line for line in hub.requests if line.startswith(("/plain/", f"/{REPO.repo}/"))]
    hub.requests.clear()
    return [line.partition(" ")[2] for line in found]


def _plain(hub: Hub, name: str = "tiny-Q8_0.gguf") -> UrlFile:
    return UrlFile(f"{hub.url}/plain/{REPO.repo}/{name}")


def test_a_hub_models_header_comes_in_growing_ranges_and_is_counted(
    hub: Hub, settings: Settings
) -> None:
    counts: list[int] = []
    headers = read_headers(REPO, settings, progress=counts.append)
    assert headers.facts.file == "owner/tiny-GGUF/tiny-Q4_K_M.gguf"
    assert headers.files[0].raw == Q4[: headers.files[0].data_offset]
    assert headers.facts.size_bytes == len(Q4)
    assert _asked(hub) == ["bytes=0-1048575", f"bytes=1048576-{len(Q4) - 1}"]
    assert sum(counts) == len(Q4)
    assert hub.authorizations == {("127.0.0.1", "Bearer hf_test")}


def test_a_quantization_may_be_named(hub: Hub, settings: Settings) -> None:
    assert read_facts(REPO, settings, "q8_0").bytes_by_type == {"Q8_0": 16 * 34}
    with pytest.raises(ModelUnusable, match="has no Q2_K of") as caught:
        read_headers(REPO, settings, "Q2_K")
    assert caught.value.hint == "It has Q4_K_M, Q8_0."


def test_an_unchanged_file_of_the_hub_is_not_asked_for_again(hub: Hub, settings: Settings) -> None:
    first = read_headers(REPO, settings)
    _asked(hub)
    assert read_headers(REPO, settings) == first
    assert _asked(hub) == []
    hub.repositories[REPO.repo]["tiny-Q4_K_M.gguf"] = Q8
    assert read_headers(REPO, settings).facts.size_bytes == len(Q8)
    assert len(_asked(hub)) == 2


def test_a_damaged_cache_entry_is_fetched_again(hub: Hub, settings: Settings) -> None:
    first = read_headers(REPO, settings)
    (entry,) = (settings.cache_dir / "headers").iterdir()
    good = entry.read_bytes()
    for bad in (
        b"",
        b"{}\n",
        b"\xff\xfe",
        good[:-1],
        good[: len(good) // 2],
        good.replace(b"word-000007", b"word-000008"),
        b"[1]" + good,
    ):
        entry.write_bytes(bad)
        _asked(hub)
        assert read_headers(REPO, settings) == first
        assert len(_asked(hub)) == 2
        assert entry.read_bytes() == good


def test_a_cache_that_cannot_be_written_does_no_harm(hub: Hub, settings: Settings) -> None:
    settings.cache_dir.parent.mkdir(parents=True, exist_ok=True)
    settings.cache_dir.write_bytes(b"a file where the folder should be")
    assert read_headers(REPO, settings).facts.size_bytes == len(Q4)


def test_all_quantizations_are_read_and_one_that_is_broken_does_not_spoil_the_others(
    hub: Hub, settings: Settings
) -> None:
    hub.repositories[REPO.repo] |= {
        "tiny-Q5_K_M.gguf": b"GGUF" + bytes(100),
        "Q6_K/tiny-Q6_K-00001-of-00002.gguf": _shard(0, 2),
        "Q6_K/tiny-Q6_K-00002-of-00002.gguf": _shard(1, 2),
        "tiny-IQ4_XS-00002-of-00003.gguf": _shard(1, 3),
    }
    with Repository(REPO, settings) as repository:
        found = repository.read_all()
    assert set(found) == {"Q4_K_M", "Q8_0", "Q5_K_M", "Q6_K", "IQ4_XS"}
    good = {name: it for name, it in found.items() if not isinstance(it, ModelUnusable)}
    assert set(good) == {"Q4_K_M", "Q8_0", "Q6_K"}
    assert [file.name.rsplit("/", 1)[1] for file in good["Q6_K"].files] == [
        "tiny-Q6_K-00001-of-00002.gguf",
        "tiny-Q6_K-00002-of-00002.gguf",
    ]
    assert [tensor.name for tensor in good["Q6_K"].facts.tensors] == ["t0", "t1"]
    assert isinstance(found["Q5_K_M"], ModelMalformed)
    missing = "missing: tiny-IQ4_XS-00001-of-00003.gguf, tiny-IQ4_XS-00003-of-00003.gguf."
    assert missing in str(found["IQ4_XS"])


def _fetched(hub: Hub, settings: Settings) -> int:
    counts: list[int] = []
    with Repository(REPO, settings, counts.append) as repository:
        found = repository.read_all()
    for name, content in hub.repositories[REPO.repo].items():
        if name.startswith("tiny-"):
            headers = found[name.removeprefix("tiny-").removesuffix(".gguf")]
            assert not isinstance(headers, ModelUnusable), headers
            header = headers.files[0]
            assert header.raw == content[: header.data_offset]
            assert header.size_bytes == len(content)
    return sum(counts)


def test_the_vocabulary_of_all_quantizations_is_fetched_once(hub: Hub, settings: Settings) -> None:
    more = {f"tiny-Q{bits}_K.gguf": _model(8, 100 + bits) for bits in (2, 3, 5, 6)}
    hub.repositories[REPO.repo] |= more
    assert _fetched(hub, settings) < len(Q4) + 5 * (400 << 10) < 2 * len(Q4)


@pytest.mark.parametrize(
    "words",
    [
        ["another", *WORDS[1:]],
        [*WORDS[:-1], "another"],
        [*WORDS, "one more"],
        WORDS[:-1],
        WORDS[:10],
        [*WORDS[:600], "longer-than-the-others", *WORDS[601:]],
    ],
)
def test_another_vocabulary_is_not_taken_over(
    hub: Hub, settings: Settings, words: list[str]
) -> None:
    hub.repositories[REPO.repo]["tiny-Q5_K_M.gguf"] = _model(8, 20, words=words)
    _fetched(hub, settings)


def test_without_ranges_each_vocabulary_is_read(hub: Hub, settings: Settings) -> None:
    hub.ranges = False
    assert _fetched(hub, settings) > len(Q4)


def test_a_repository_without_ggufs_says_so(hub: Hub, settings: Settings) -> None:
    hub.repositories["owner/none"] = {"model.safetensors": b"x"}
    none = HubFile("owner/none")
    with Repository(none, settings) as repository:
        for read in (repository.read_all, lambda: read_headers(none, settings)):
            with pytest.raises(ModelUnusable, match="has no GGUF file") as caught:
                read()
            assert "NAME-GGUF" in caught.value.hint


@pytest.mark.parametrize(
    ("status", "code", "message", "hint"),
    [
        (403, "GatedRepo", "accepted its terms", "hf auth login"),
        (403, "", "HTTP 403", "HF_TOKEN"),
        (429, "", "HTTP 429", "wait a few minutes"),
        (503, "", "HTTP 503", "Try again later"),
    ],
)
def test_a_hubs_refusal_says_what_to_do(
    hub: Hub, settings: Settings, status: int, code: str, message: str, hint: str
) -> None:
    hub.refuse = (status, code)
    with pytest.raises(ModelUnusable, match=message) as caught:
        read_headers(REPO, settings)
    assert hint in caught.value.hint
    if code == "GatedRepo":
        assert f"{hub.url}/{REPO.repo}" in caught.value.hint


def test_a_repository_that_is_not_there_or_private_is_named(hub: Hub, settings: Settings) -> None:
    with pytest.raises(ModelUnusable, match="no repository owner/none, or it is private") as caught:
        read_headers(HubFile("owner/none"), settings)
    assert "hf auth login" in caught.value.hint


def test_a_hub_that_is_gone_is_named(tmp_path: Path) -> None:
    with serve_hub() as gone:
        url = gone.url
    with pytest.raises(ModelUnusable, match=f"connection to {url} failed"):
        read_headers(REPO, _settings(url, tmp_path))


def test_offline_nothing_is_asked_of_the_network(hub: Hub, settings: Settings) -> None:
    offline = dataclasses.replace(settings, offline=True)
    for source in (REPO, _plain(hub)):
        with pytest.raises(ModelUnusable, match="without the network"):
            read_headers(source, offline)
    assert hub.requests == []


def test_the_token_is_not_sent_to_where_the_hub_keeps_its_files(
    hub: Hub, settings: Settings
) -> None:
    hub.redirect_to = hub.url.replace("127.0.0.1", "localhost")
    assert read_headers(REPO, settings).facts.size_bytes == len(Q4)
    assert hub.authorizations == {("127.0.0.1", "Bearer hf_test"), ("localhost", None)}


def test_the_token_is_not_sent_to_other_addresses(hub: Hub, tmp_path: Path) -> None:
    elsewhere = _settings("https://hub.invalid", tmp_path)
    assert read_facts(_plain(hub), elsewhere).size_bytes == len(Q8)
    assert hub.authorizations == {("127.0.0.1", None)}


def test_redirects_without_end_are_given_up(hub: Hub, settings: Settings) -> None:
    hub.redirect_to = hub.url
    with pytest.raises(ModelUnusable, match="more than 8 times"):
        read_headers(_plain(hub), settings)


def test_a_redirect_to_plain_http_elsewhere_is_not_followed(hub: Hub, settings: Settings) -> None:
    hub.redirect_to = "http://elsewhere.invalid"
    with pytest.raises(ModelUnusable, match=r"http://elsewhere\.invalid/plain/.* is not fetched"):
        read_headers(_plain(hub), settings)


@pytest.mark.parametrize("url", ["http://example.invalid/m.gguf", "ftp://127.0.0.1/m.gguf"])
def test_only_encrypted_addresses_are_asked(url: str, settings: Settings) -> None:
    with pytest.raises(ModelUnusable, match="is not fetched: only https"):
        read_headers(UrlFile(url), settings)


def test_a_plain_address_is_read_and_kept_by_its_etag(hub: Hub, settings: Settings) -> None:
    first = read_headers(_plain(hub), settings)
    assert first.facts.file == "tiny-Q8_0.gguf"
    assert len(_asked(hub)) == 2
    assert read_headers(_plain(hub), settings) == first
    assert _asked(hub) == ["bytes=0-1048575"]  # answered with 304
    hub.repositories[REPO.repo]["tiny-Q8_0.gguf"] = Q4
    assert read_headers(_plain(hub), settings).facts.size_bytes == len(Q4)


def test_without_an_etag_nothing_is_kept(hub: Hub, settings: Settings) -> None:
    hub.etags = False
    for _ in range(2):
        read_headers(_plain(hub), settings)
        assert len(_asked(hub)) == 2


def test_all_shards_beside_an_address_are_read_in_order(hub: Hub, settings: Settings) -> None:
    names = [f"big model-{n:05}-of-00002.gguf" for n in (1, 2)]
    hub.repositories[REPO.repo] = {
        name.replace(" ", "%20"): _shard(number, 2) for number, name in enumerate(names)
    }
    source = UrlFile(f"{hub.url}/plain/{REPO.repo}/big%20model-00002-of-00002.gguf?sig=a")
    headers = read_headers(source, settings)
    assert [file.name for file in headers.files] == names
    assert all("?sig=a" in line for line in hub.requests)
    assert _asked(hub) == ["bytes=0-1048575", "bytes=0-131071"]


def test_a_server_without_ranges_is_read_no_further_than_needed(
    hub: Hub, settings: Settings
) -> None:
    hub.ranges = False
    content = _model(0, 1_000_000)
    hub.repositories[REPO.repo]["large.gguf"] = content
    counts: list[int] = []
    headers = read_headers(_plain(hub, "large.gguf"), settings, progress=counts.append)
    assert headers.facts.size_bytes == len(content)
    assert sum(counts) < 8 << 20 < len(content)
    assert len(_asked(hub)) == 1


def test_a_whole_file_that_is_compressed_is_unpacked(hub: Hub, settings: Settings) -> None:
    hub.ranges, hub.encoding = False, "gzip"
    hub.repositories[REPO.repo]["m.gguf"] = gzip.compress(Q8, mtime=0)
    assert read_facts(_plain(hub, "m.gguf"), settings).size_bytes == len(Q8)


def test_a_compressed_range_is_refused(hub: Hub, settings: Settings) -> None:
    hub.encoding = "gzip"
    with pytest.raises(ModelUnusable, match="compresses parts of files"):
        read_headers(_plain(hub), settings)


@pytest.mark.parametrize("wrong", ["bytes 7-9/100", "bytes 0-", "pages 0-1/2", "bytes 5-1/9"])
def test_a_wrong_content_range_is_refused(hub: Hub, settings: Settings, wrong: str) -> None:
    hub.wrong_range = wrong
    with pytest.raises(ModelUnusable, match="was asked for bytes from 0 on and sends"):
        read_headers(_plain(hub), settings)


def test_a_file_that_changes_while_it_is_read_is_begun_again(hub: Hub, settings: Settings) -> None:
    hub.versions = [Q4, Q8]  # the first range of one, the second of another
    assert read_facts(_plain(hub), settings).size_bytes == len(Q8)
    assert len(_asked(hub)) == 4


def test_a_commits_file_may_have_another_etag_on_each_machine(hub: Hub, settings: Settings) -> None:
    hub.versions = [Q4, Q4[:-1] + b"x"]
    assert read_facts(REPO, settings).size_bytes == len(Q4)
    assert len(_asked(hub)) == 2


def test_a_file_that_never_stays_the_same_is_given_up(hub: Hub, settings: Settings) -> None:
    hub.versions = [Q4, Q8] * 3
    with pytest.raises(ModelUnusable, match="changed while it was read, 3 times"):
        read_headers(_plain(hub), settings)


def test_a_connection_that_is_cut_is_tried_again(hub: Hub, settings: Settings) -> None:
    hub.cut_after_bytes = [1000]
    assert read_facts(REPO, settings).size_bytes == len(Q4)


def test_a_connection_that_stays_cut_is_an_error(hub: Hub, settings: Settings) -> None:
    hub.cut_after_bytes = [1000] * 3
    with pytest.raises(ModelUnusable, match=r"connection to .* failed"):
        read_headers(REPO, settings)


def test_an_empty_file_is_malformed(hub: Hub, settings: Settings) -> None:
    hub.repositories[REPO.repo]["empty.gguf"] = b""
    with pytest.raises(ModelMalformed, match=r"empty\.gguf: the file is empty"):
        read_headers(_plain(hub, "empty.gguf"), settings)


def test_a_page_in_the_place_of_a_file_is_malformed(hub: Hub, settings: Settings) -> None:
    hub.garbled = True
    with pytest.raises(ModelMalformed, match="begins with b'<htm'"):
        read_headers(_plain(hub), settings)


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "login"), (404, "address"), (429, "minutes"), (500, "later")]
)
def test_an_addresss_refusal_says_what_to_do(
    hub: Hub, settings: Settings, status: int, hint: str
) -> None:
    hub.refuse = (status, "")
    source = UrlFile(_plain(hub).url + "?token=secret")
    with pytest.raises(ModelUnusable, match=f"answered with HTTP {status}") as caught:
        read_headers(source, settings)
    assert hint in caught.value.hint
    assert "secret" not in str(caught.value)


def test_a_server_that_takes_for_ever_is_given_up(
    hub: Hub, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ranges, "TOTAL_SECONDS", -1.0)
    with pytest.raises(ModelUnusable, match="did not give its header within"):
        read_headers(_plain(hub), settings)


def test_a_name_of_too_many_shards_is_refused_before_anything_is_asked(
    hub: Hub, settings: Settings
) -> None:
    with pytest.raises(ModelUnusable, match="is split into more than 512 files"):
        read_headers(_plain(hub, "m-00001-of-99999.gguf"), settings)
    assert hub.requests == []


def test_files_of_this_disk_are_read_by_any_shard(tmp_path: Path, settings: Settings) -> None:
    paths = [tmp_path / f"m-{n:05}-of-00002.gguf" for n in (1, 2)]
    for number, path in enumerate(paths):
        path.write_bytes(_shard(number, 2))
    headers = read_headers(LocalFile(paths[1]), settings)
    assert [file.name for file in headers.files] == list(map(str, paths))
    assert headers == read_local(paths[0])
    paths[1].unlink()
    with pytest.raises(ModelUnusable, match="missing: m-00002-of-00002"):
        read_local(paths[0])
