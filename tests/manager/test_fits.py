"""Which models would fit: those of the disk and of the catalog, on a recorded machine."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from localserve.catalog.registry import SHIPPED_FILE
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.config import Settings, read_settings
from localserve.errors import UnknownModel
from localserve.manager.fits import Fits, Survey
from localserve.planner.hardware import Hardware, probe
from localserve.testing import FakeBackend, FakeOffer, fake_manager
from tests.planner.real_shapes import SHAPES, write_header
from tests.planner.recorded import GIB, RecordedReadings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environ={"LOCALSERVE_HOME": str(tmp_path / "home")})


@pytest.fixture
def hardware(settings: Settings, tmp_path: Path) -> Hardware:
    """64 GiB of RAM and no GPU."""
    return probe(settings, RecordedReadings(tmp_path / "machine"))


def fits_of(
    specs: list[ModelSpec], settings: Settings, hardware: Hardware, held: dict[str, int]
) -> Fits:
    manager = fake_manager(FakeBackend(), spec=specs[0])
    manager._offer = FakeOffer(specs)
    manager.ledger.hold("another", held)

    async def look() -> Hardware:
        return hardware

    return Fits(manager, settings, look)


async def test_disk_and_catalog_are_judged_and_what_is_loaded_does_not_count(
    settings: Settings, hardware: Hardware, tmp_path: Path
) -> None:
    path = write_header(tmp_path / "qwen3-8b-Q4_K_M.gguf", SHAPES["qwen3-8b"], "Q4_K_M")
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF")
    specs = [ModelSpec("qwen3-8b", LocalFile(path)), ModelSpec("broken", LocalFile(broken))]
    memory = replace(hardware.memory, available_bytes=2 * GIB)
    full = replace(hardware, memory=memory)
    survey = await fits_of(specs, settings, full, {"CPU": 40 * GIB}).all()
    models = {one.name: one for one in survey.models}
    outlook = models["qwen3-8b"].outlook
    assert outlook is not None
    assert (outlook.level, outlook.plan.quantization) == ("fits", "Q4_K_M")
    assert models["broken"].outlook is None
    assert models["broken"].problem
    assert [one.name for one in survey.models].count("qwen3-8b") == 1
    assert not models["qwen3-32b"].on_disk
    assert models["qwen3-32b"].outlook is not None
    survey = await fits_of(specs, settings, full, {}).all()
    assert {one.outlook.level for one in survey.models if one.outlook} == {"not now", "too large"}


async def test_a_look_is_kept_for_a_while(
    settings: Settings, hardware: Hardware, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits = fits_of([builtin()], settings, hardware, {})
    first: Survey = await fits.all()
    assert await fits.all() is first
    monkeypatch.setattr("localserve.manager.fits.KEPT_SECONDS", -1.0)
    assert await fits.all() is not first


def builtin() -> ModelSpec:
    return ModelSpec("tiny", LocalFile(SHIPPED_FILE.with_name("builtin.gguf")), ("small",))


async def test_one_model_is_found_by_each_of_its_names(
    settings: Settings, hardware: Hardware
) -> None:
    fits = fits_of([builtin()], settings, hardware, {})
    answer = await fits.one("Small")
    assert (answer.fit.name, answer.level) == ("tiny", "fits")
    answer = await fits.one("qwen3-32b")
    assert len(answer.fit.plans) > 1
    with pytest.raises(UnknownModel, match="qwen3"):
        await fits.one("qwen33")


async def test_the_context_of_the_command_line_is_the_default_models(
    settings: Settings, hardware: Hardware
) -> None:
    other = replace(builtin(), name="other", aliases=())
    asked = replace(settings, context_tokens=512)
    fits = fits_of([builtin(), other], asked, hardware, {})
    assert (await fits.one("tiny")).fit.shown.runtime.context_tokens == 512
    assert (await fits.one("other")).fit.shown.runtime.context_tokens > 512


async def test_a_bound_on_the_memory_of_models_bounds_their_plans(
    settings: Settings, tmp_path: Path
) -> None:
    bounded = replace(settings, model_ram_bytes=2 * GIB)
    hardware = probe(bounded, RecordedReadings(tmp_path / "machine"))
    survey = await fits_of([builtin()], bounded, hardware, {"CPU": GIB}).all()
    levels = {one.name: one.outlook.level for one in survey.models if one.outlook}
    assert (levels["tiny"], levels["qwen3-8b"]) == ("fits", "too large")
