"""What was typed -> the file that is meant."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from localserve.catalog.locate import find_model
from localserve.catalog.registry import Registry
from localserve.catalog.spec import HubFile, LocalFile, ModelSpec
from localserve.chat import Sampling
from localserve.config import Settings
from localserve.errors import AmbiguousName, ModelUnusable, NotDownloaded, UnknownModel
from tests.catalog.gguf_files import write_gguf

HUB = ModelSpec(
    "qwen3-8b",
    HubFile("Qwen/Qwen3-8B-GGUF", "Qwen3-8B-{quantization}.gguf"),
    aliases=("qwen3:8b",),
    quantizations={"Q8_0": 8_700_000_000, "Q4_K_M": 5_027_783_488},
)


def _gguf(path: Path, content: bytes = b"GGUF\x03\0\0\0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def _find(text: str | None, settings: Settings, *specs: ModelSpec) -> ModelSpec:
    return find_model(text, Registry(specs or (HUB,)), settings)


def test_a_path_is_used_and_named_after_its_file(tmp_path: Path, settings: Settings) -> None:
    path = _gguf(tmp_path / "My Model-Q4_K_M.GGUF")
    assert _find(str(path), settings) == ModelSpec("My Model-Q4_K_M", LocalFile(path))


def test_relative_paths_and_the_home_folder_are_understood(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = _gguf(tmp_path / "sub" / "a.gguf")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for text in ("sub/a.gguf", "./sub/a.gguf", "~/sub/a.gguf", "sub", "./sub"):
        assert _find(text, settings).source == LocalFile(path)


def test_a_name_of_the_registry_comes_before_a_file_of_that_name(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _gguf(tmp_path / "qwen3-8b")
    with pytest.raises(ModelUnusable, match="'qwen3-8b' is not on this disk"):
        _find("qwen3-8b", settings)
    assert _find("./qwen3-8b", settings).source == LocalFile(tmp_path / "qwen3-8b")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"PK\x03\x04zip", "is not a GGUF file: it begins with b'PK"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of git-lfs"),
    ],
)
def test_a_file_that_is_no_model_is_refused(
    tmp_path: Path, settings: Settings, content: bytes, words: str
) -> None:
    with pytest.raises(ModelUnusable, match=words):
        _find(str(_gguf(tmp_path / "a.gguf", content)), settings)


def test_a_path_that_does_not_exist_is_refused(tmp_path: Path, settings: Settings) -> None:
    with pytest.raises(ModelUnusable, match=r"There is no file .*none\.gguf"):
        _find(str(tmp_path / "none.gguf"), settings)


def test_any_shard_of_a_split_model_stands_for_all(tmp_path: Path, settings: Settings) -> None:
    shards = [_gguf(tmp_path / f"big-Q8_0-{n:05}-of-00003.gguf") for n in (1, 2, 3)]
    for shard in (*shards, tmp_path):
        assert _find(str(shard), settings) == ModelSpec("big-Q8_0", LocalFile(shards[0]))


def test_a_missing_shard_is_named(tmp_path: Path, settings: Settings) -> None:
    for number in (1, 3):
        _gguf(tmp_path / f"big-{number:05}-of-00003.gguf")
    with pytest.raises(ModelUnusable) as caught:
        _find(str(tmp_path / "big-00001-of-00003.gguf"), settings)
    assert "is split into 3 files; missing: big-00002-of-00003.gguf." in str(caught.value)


def test_a_damaged_later_shard_is_found(tmp_path: Path, settings: Settings) -> None:
    first = _gguf(tmp_path / "big-00001-of-00002.gguf")
    _gguf(tmp_path / "big-00002-of-00002.gguf", b"")
    with pytest.raises(ModelUnusable, match=r"00002-of-00002\.gguf is empty"):
        _find(str(first), settings)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("m-00001-of-00001.gguf", "There is no file"),
        ("m-00001-of-99999.gguf", "is split into 99999 files; missing: m-00001-of-99999.gguf,"),
    ],
)
def test_a_file_that_is_missing_is_told_by_what_its_name_says(
    tmp_path: Path, settings: Settings, name: str, words: str
) -> None:
    with pytest.raises(ModelUnusable) as caught:
        find_model(str(tmp_path / name), Registry(), settings)
    assert words in str(caught.value)


def test_a_folder_must_hold_exactly_one_model(tmp_path: Path, settings: Settings) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    with pytest.raises(ModelUnusable, match=r"has no \.gguf file"):
        _find(str(folder), settings)
    _gguf(folder / "mmproj-a.gguf")
    one = _gguf(folder / "a.gguf")
    assert _find(str(folder), settings).source == LocalFile(one)
    _gguf(folder / "b.gguf")
    with pytest.raises(ModelUnusable, match=r"has 2 models: a\.gguf, b\.gguf"):
        _find(str(folder), settings)


def test_the_entry_for_a_path_brings_its_settings(tmp_path: Path, settings: Settings) -> None:
    path = _gguf(tmp_path / "a.gguf")
    (tmp_path / "link.gguf").symlink_to(path)
    entry = ModelSpec("mine", LocalFile(path), context_tokens=99, sampling=Sampling(top_k=1))
    assert _find(str(path), settings, HUB, entry) == entry
    through_link = _find(str(tmp_path / "link.gguf"), settings, HUB, entry)
    assert (through_link.name, through_link.context_tokens) == ("mine", 99)


def test_a_model_in_the_models_folder_is_used_in_place(settings: Settings) -> None:
    folder = settings.models_dir / "Qwen" / "Qwen3-8B-GGUF"
    _gguf(folder / "Qwen3-8B-Q8_0.gguf")
    path = _gguf(folder / "Qwen3-8B-Q4_K_M.gguf")
    _gguf(folder / "Other-Q4_0.gguf")
    found = _find("QWEN3:8b", settings)
    assert found == dataclasses.replace(HUB, source=LocalFile(path))


def test_the_current_snapshot_of_the_hubs_cache_is_used_in_place(settings: Settings) -> None:
    cached = settings.hub_cache_dir / "models--Qwen--Qwen3-8B-GGUF"
    blob = _gguf(cached / "blobs" / "abc")
    for commit in ("aaa", "bbb"):
        link = cached / "snapshots" / commit / "Qwen3-8B-Q4_K_M.gguf"
        link.parent.mkdir(parents=True)
        link.symlink_to(blob)
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("bbb\n")
    assert _find("qwen3-8b", settings).source == LocalFile(
        cached / "snapshots" / "bbb" / "Qwen3-8B-Q4_K_M.gguf"
    )


def test_half_of_a_split_model_in_the_models_folder_counts_as_absent(settings: Settings) -> None:
    folder = settings.models_dir / "Qwen" / "Qwen3-8B-GGUF"
    _gguf(folder / "Qwen3-8B-Q4_K_M-00001-of-00002.gguf")
    with pytest.raises(ModelUnusable, match="not on this disk"):
        _find("qwen3-8b", settings)


def test_a_model_that_is_not_on_the_disk_says_its_size_and_how_to_get_it(
    settings: Settings,
) -> None:
    with pytest.raises(ModelUnusable) as caught:
        _find("qwen3:8b", settings)
    assert "not on this disk (Q4_K_M: about 5.0 GB)" in caught.value.message
    assert "`localserve pull qwen3-8b` downloads it" in caught.value.hint
    offline = dataclasses.replace(settings, offline=True)
    with pytest.raises(ModelUnusable) as caught:
        _find("qwen3:8b", offline)
    assert "--offline" in caught.value.hint


def test_an_unknown_name_lists_the_nearest(settings: Settings) -> None:
    with pytest.raises(UnknownModel) as caught:
        _find("qwen38b", settings)
    assert caught.value.known == ("qwen3-8b",)
    with pytest.raises(ModelUnusable, match="There is no file"):
        _find("qwen38b.gguf", settings)


def test_the_home_of_a_stranger_is_a_file_that_is_not_there(settings: Settings) -> None:
    with pytest.raises(ModelUnusable, match="There is no file"):
        _find("~nobody-of-that-name/a.gguf", settings)


@pytest.mark.parametrize("text", ["", "x" * 5000, "no\0name"])
def test_a_name_that_cannot_be_a_file_is_unknown(text: str, settings: Settings) -> None:
    with pytest.raises(UnknownModel):
        _find(text, settings)


def test_nothing_means_the_built_in_model(tmp_path: Path, settings: Settings) -> None:
    builtin = ModelSpec("localserve-tiny", LocalFile(_gguf(tmp_path / "builtin.gguf")))
    assert _find(None, settings, HUB, builtin) == builtin


def _in_lm_studio(settings: Settings, name: str) -> Path:
    assert settings.lm_studio_models_dir is not None
    return write_gguf(settings.lm_studio_models_dir / "someone" / "some-GGUF" / name)


def test_a_model_of_another_program_is_found_by_name_and_by_its_beginning(
    settings: Settings,
) -> None:
    path = _in_lm_studio(settings, "Some-Model-Q4_K_M.gguf")
    for text in ("some-model-q4_k_m", "lm-studio/Some-Model-Q4_K_M", "someone/some-GGUF", "some-m"):
        assert _find(text, settings) == ModelSpec("Some-Model-Q4_K_M", LocalFile(path))


def test_a_name_of_the_registry_means_the_copy_that_another_program_has(
    settings: Settings,
) -> None:
    path = _in_lm_studio(settings, "Qwen3-8B-Q4_K_M.gguf")
    spec = _find("qwen3:8b", settings)
    assert (spec.name, spec.source) == ("qwen3-8b", LocalFile(path))


def test_localserve_s_own_copy_comes_before_those_of_others(settings: Settings) -> None:
    _in_lm_studio(settings, "Qwen3-8B-Q4_K_M.gguf")
    own = write_gguf(settings.models_dir / "Qwen" / "Qwen3-8B-GGUF" / "Qwen3-8B-Q8_0.gguf")
    assert _find("qwen3-8b", settings).source == LocalFile(own)


def test_a_file_of_the_working_folder_comes_before_the_beginning_of_a_name(
    tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    _in_lm_studio(settings, "some-model.gguf")
    monkeypatch.chdir(tmp_path)
    path = write_gguf(tmp_path / "some")
    assert _find("some", settings).source == LocalFile(path)


def test_several_that_could_be_meant_are_listed(settings: Settings) -> None:
    _in_lm_studio(settings, "some-a.gguf")
    _in_lm_studio(settings, "some-b.gguf")
    with pytest.raises(AmbiguousName) as caught:
        _find("some", settings)
    assert set(caught.value.known) == {"some-a", "some-b"}


def test_a_damaged_model_of_another_program_is_refused_with_its_owner(settings: Settings) -> None:
    path = _in_lm_studio(settings, "some-a.gguf")
    path.write_bytes(b"")
    with pytest.raises(ModelUnusable, match="lm-studio/some-a cannot be served: it is empty") as c:
        _find("some-a", settings)
    assert "LM Studio" in c.value.hint


def test_models_on_this_disk_are_among_the_nearest_names(settings: Settings) -> None:
    _in_lm_studio(settings, "some-model.gguf")
    with pytest.raises(UnknownModel) as caught:
        _find("sum-model", settings)
    assert caught.value.known == ("some-model",)


def test_a_damaged_copy_elsewhere_does_not_keep_a_name_of_the_registry_from_being_downloaded(
    settings: Settings,
) -> None:
    _in_lm_studio(settings, "Qwen3-8B-Q4_K_M.gguf").write_bytes(b"")
    with pytest.raises(NotDownloaded):
        _find("qwen3-8b", settings)


def test_a_cut_download_says_how_to_go_on(settings: Settings) -> None:
    folder = settings.models_dir / "Qwen" / "Qwen3-8B-GGUF"
    _gguf(folder / "Qwen3-8B-Q4_K_M.gguf.0123456789abcdef.partial")
    with pytest.raises(NotDownloaded):
        _find("qwen3-8b", settings)
    with pytest.raises(ModelUnusable, match="its download is not complete") as caught:
        _find("Qwen3-8B-Q4_K_M", settings)
    assert caught.value.hint == (
        "`localserve pull qwen3-8b:Q4_K_M` goes on with it,"
        " `localserve rm Qwen3-8B-Q4_K_M` deletes it."
    )
