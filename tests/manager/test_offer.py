"""What requests can name: what is on this disk, by name, and never a path."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from localserve.catalog.registry import shipped_registry
from localserve.catalog.spec import LocalFile
from localserve.config import Settings, read_settings
from localserve.errors import NotDownloaded, UnknownModel
from localserve.manager import offer
from localserve.manager.offer import DiskOffer


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    places = {"hub_cache_dir", "llama_cache_dir", "lm_studio_models_dir", "ollama_models_dir"}
    nowhere = dict.fromkeys(places, tmp_path / "nothing")
    settings = read_settings(environ={"LOCALSERVE_HOME": str(tmp_path / "home")})
    return replace(settings, **nowhere)  # type: ignore[arg-type]


@pytest.fixture
def disk(settings: Settings, tiny_f16: Path) -> DiskOffer:
    folder = settings.models_dir / "someone" / "Small-GGUF"
    folder.mkdir(parents=True)
    shutil.copyfile(tiny_f16, folder / "small-F16.gguf")
    return DiskOffer(settings, shipped_registry())


async def test_models_of_this_disk_and_the_built_in_one_can_be_named(disk: DiskOffer) -> None:
    names = [spec.name for spec in await disk.everything()]
    assert names == ["small-F16", "localserve-tiny"]
    found = await disk.find("SMALL-F16")
    assert isinstance(found.source, LocalFile)
    assert found.source.path.name == "small-F16.gguf"
    assert (await disk.find("tiny")).name == "localserve-tiny"


async def test_a_model_that_must_be_downloaded_first_is_named_as_such(disk: DiskOffer) -> None:
    with pytest.raises(NotDownloaded):
        await disk.find("qwen3-0.6b")


async def test_a_path_is_no_name(disk: DiskOffer, tiny_f16: Path) -> None:
    for name in (str(tiny_f16), f"./{tiny_f16.name}", "~", "small", ""):
        with pytest.raises(UnknownModel):
            await disk.find(name)


async def test_the_disk_is_looked_at_again_after_a_while(
    disk: DiskOffer, settings: Settings, tiny_f16: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await disk.everything()
    shutil.copyfile(tiny_f16, settings.models_dir / "later.gguf")
    assert len(await disk.everything()) == 2
    monkeypatch.setattr(offer, "KEPT_SECONDS", 0.0)
    assert len(await disk.everything()) == 3
