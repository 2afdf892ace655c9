"""When which file was served last."""

from __future__ import annotations

import errno
import json
import time
from pathlib import Path

import pytest

from localserve.catalog import usage
from localserve.catalog.usage import FILE_NAME, last_uses, remember_use
from localserve.config import Settings


def test_uses_are_remembered(settings: Settings) -> None:
    before = time.time()
    remember_use(Path("/a.gguf"), settings)
    remember_use(Path("/b.gguf"), settings)
    uses = last_uses(settings)
    assert uses.keys() == {"/a.gguf", "/b.gguf"}
    assert before <= uses["/a.gguf"] <= uses["/b.gguf"] <= time.time()
    assert [path.name for path in settings.cache_dir.iterdir()] == [FILE_NAME]


def test_the_oldest_are_forgotten(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "MAX_FILES", 2)
    for name in "abc":
        remember_use(Path(name), settings)
    assert last_uses(settings).keys() == {"b", "c"}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "[" * 100_000, '{"/a": "x", "/b": -1, "/c": 1e300, "/d": null}']
)
def test_what_is_damaged_or_of_the_future_counts_as_nothing(
    settings: Settings, content: str
) -> None:
    settings.cache_dir.mkdir(parents=True)
    (settings.cache_dir / FILE_NAME).write_text(content)
    assert last_uses(settings) == {}
    remember_use(Path("/a"), settings)
    assert json.loads((settings.cache_dir / FILE_NAME).read_text()).keys() == {"/a"}


def test_a_folder_that_cannot_be_made_is_no_error(settings: Settings) -> None:
    settings.cache_dir.parent.mkdir()
    settings.cache_dir.write_text("a file in its place")
    remember_use(Path("/a"), settings)
    assert last_uses(settings) == {}


def test_a_full_disk_is_no_error_and_leaves_nothing_behind(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember_use(Path("/a"), settings)

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(json, "dump", full)
    remember_use(Path("/b"), settings)
    assert last_uses(settings).keys() == {"/a"}
    assert [path.name for path in settings.cache_dir.iterdir()] == [FILE_NAME]
