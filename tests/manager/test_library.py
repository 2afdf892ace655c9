"""Models that are fetched and deleted while the server runs, over a hub on localhost."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pytest

from localserve.catalog.download import Progress, Said, Tell
from localserve.catalog.package import Package
from localserve.catalog.registry import SHIPPED_FILE, shipped_registry
from localserve.config import Settings, read_settings
from localserve.errors import ModelUnusable, Overloaded, UnknownModel
from localserve.manager.library import MOST_PULLS, Arriving, DiskLibrary, Looking, PullNews
from localserve.manager.offer import DiskOffer
from tests.catalog.hub_server import Hub, serve_hub

REPO = "owner/tiny-GGUF"
CONTENT = SHIPPED_FILE.with_name("builtin.gguf").read_bytes()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as hub:
        hub.repositories[REPO] = {"tiny-Q4_K_M.gguf": CONTENT}
        yield hub


@pytest.fixture
def settings(tmp_path: Path, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("HOME", str(tmp_path))
    return read_settings(
        {},
        {
            "LOCALSERVE_HOME": str(tmp_path / "home"),
            "HF_HOME": str(tmp_path / "hf"),
            "HF_ENDPOINT": hub.url,
            "LLAMA_CACHE": str(tmp_path / "llama"),
            "OLLAMA_MODELS": str(tmp_path / "ollama"),
            "LOCALSERVE_LM_STUDIO_MODELS_DIR": str(tmp_path / "lm-studio"),
        },
    )


def library_of(settings: Settings) -> tuple[DiskLibrary, DiskOffer]:
    offer = DiskOffer(settings, shipped_registry())
    return DiskLibrary(settings, offer), offer


async def pull(library: DiskLibrary, name: str) -> list[PullNews]:
    async with aclosing(library.pull(name)) as news:
        return [one async for one in news]


async def test_a_pulled_model_can_be_named_at_once(settings: Settings) -> None:
    library, offer = library_of(settings)
    assert len(await offer.everything()) == 1
    news = await pull(library, REPO)
    last = news[-1]
    assert isinstance(last, Arriving)
    assert last.progress.done_bytes == last.progress.total_bytes == len(CONTENT)
    assert len(last.digest) == 64
    assert "tiny-Q4_K_M" in {spec.name for spec in await offer.everything()}


async def test_what_is_here_brings_no_news(settings: Settings, hub: Hub) -> None:
    library, _ = library_of(settings)
    await pull(library, f"{REPO}:latest")
    asked = len(hub.requests)
    assert await pull(library, REPO) == []
    assert await pull(library, "localserve-tiny:latest") == []
    assert len(hub.requests) == asked


async def test_what_fails_raises_before_any_news(settings: Settings) -> None:
    library, _ = library_of(settings)
    with pytest.raises(UnknownModel):
        await pull(library, "no-such-model")
    with pytest.raises(ModelUnusable):
        await pull(library, "owner/no-such-repo")
    offline = replace(settings, offline=True, sources={"offline": "--offline"})
    with pytest.raises(ModelUnusable, match="network is not to be used"):
        await pull(library_of(offline)[0], REPO)


async def test_closing_ends_the_download(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended = threading.Event()

    def endless(package: Package, settings: Settings, tell: Tell) -> None:
        try:
            for done in itertools.count():
                tell(Progress(done, 1 << 60))
                time.sleep(0.001)
        finally:
            ended.set()

    monkeypatch.setattr("localserve.manager.library.download", endless)
    library, _ = library_of(settings)
    async with aclosing(library.pull(REPO)) as news:
        seen = [await anext(news) for _ in range(3)]
    assert all(isinstance(one, Arriving | Looking) for one in seen)
    assert await asyncio.to_thread(ended.wait, 20)


async def test_what_came_of_a_download_that_was_ended_is_discarded(
    settings: Settings, hub: Hub
) -> None:
    hub.hold_after_bytes = [len(CONTENT), len(CONTENT) // 2]  # the header comes whole
    library, _ = library_of(settings)
    async with aclosing(library.pull(REPO)) as news:
        async for one in news:
            if isinstance(one, Arriving) and one.progress.done_bytes:
                break
    hub.released.set()
    parts = list(settings.models_dir.rglob("*.partial"))
    size_bytes = await library.discard(REPO)
    assert len(parts) == 1
    assert size_bytes > 0
    assert list(settings.models_dir.iterdir()) == []
    with pytest.raises(UnknownModel, match="does not exist here"):
        await library.discard(REPO)
    assert (await pull(library, REPO))[-1]
    with pytest.raises(UnknownModel):
        await library.discard(REPO)  # all of it came


async def test_what_is_still_being_fetched_is_not_discarded(
    settings: Settings, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localserve.manager.library.END_SECONDS", 0.01)
    hub.hold_after_bytes = [len(CONTENT), len(CONTENT) // 2]  # the header comes whole
    library, offer = library_of(settings)
    under_way = asyncio.create_task(pull(library, REPO))
    async with asyncio.timeout(20):
        while not list(settings.models_dir.rglob("*.partial")):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    with pytest.raises(ModelUnusable, match="still being fetched"):
        await library.discard(REPO)
    hub.released.set()
    await under_way
    assert "tiny-Q4_K_M" in {spec.name for spec in await offer.everything()}


async def test_only_so_many_are_downloaded_at_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = threading.Event()

    def waiting(package: Package, settings: Settings, tell: Tell) -> None:
        released.wait(20)

    monkeypatch.setattr("localserve.manager.library.download", waiting)
    library, _ = library_of(settings)
    pulls = [asyncio.create_task(pull(library, REPO)) for _ in range(MOST_PULLS)]
    await asyncio.sleep(0)
    try:
        with pytest.raises(Overloaded, match="4 downloads"):
            await pull(library, REPO)
    finally:
        released.set()
    await asyncio.gather(*pulls)
    await pull(library, REPO)


async def test_a_failure_in_the_middle_is_raised_after_its_news(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(package: Package, settings: Settings, tell: Tell) -> None:
        tell(Progress(1, 2))
        tell(Said("it starts again"))
        raise ModelUnusable("The disk is full.")

    monkeypatch.setattr("localserve.manager.library.download", broken)
    library, _ = library_of(settings)
    news: list[PullNews] = []

    async def gather() -> None:
        async for one in library.pull(REPO):
            news.append(one)  # noqa: PERF401

    with pytest.raises(ModelUnusable, match="disk is full"):
        await gather()
    assert Said("it starts again") in news
    assert any(isinstance(one, Arriving) for one in news)


async def test_only_localserve_s_own_are_deleted(settings: Settings) -> None:
    library, offer = library_of(settings)
    await pull(library, REPO)
    with pytest.raises(ModelUnusable, match="ships with localserve"):
        await library.find("localserve-tiny")
    with pytest.raises(UnknownModel):
        await library.find("nothing:latest")
    found = await library.find("tiny-q4_k_m:latest")
    assert library.spec_of(found).name == "tiny-Q4_K_M"
    await library.delete(found)
    assert [spec.name for spec in await offer.everything()] == ["localserve-tiny"]


async def test_what_can_be_deleted_is_told_as_requests_name_it(settings: Settings) -> None:
    library, offer = library_of(settings)
    assert await library.removable() == frozenset(), "the built-in model is nobody's to delete"
    await pull(library, REPO)
    beside = settings.lm_studio_models_dir
    assert beside is not None
    theirs = beside / "publisher" / "model" / "theirs-Q4_K_M.gguf"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(CONTENT)
    offer.look_again()
    assert "theirs-Q4_K_M" in {spec.name for spec in await offer.everything()}
    assert await library.removable() == {"tiny-Q4_K_M"}
    found = await library.find("tiny-Q4_K_M")
    await library.delete(found)
    assert await library.removable() == frozenset()
