"""Which quantization a pull takes, what it is told of memory, and what it refuses beforehand."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from localserve.catalog.finders.record import FoundModel
from localserve.catalog.headers import read_local
from localserve.catalog.registry import SHIPPED_FILE, Registry
from localserve.catalog.spec import HubFile, ModelSpec
from localserve.catalog.wanted import Wanted, parse_wanted
from localserve.config import Settings, read_settings
from localserve.errors import ModelMalformed, ModelUnusable
from localserve.planner.hardware import Hardware, probe
from localserve.planner.pull import Proposal, pick_quantization, propose
from localserve.planner.verdict import Room, judge
from tests.catalog.hub_server import Hub, serve_hub
from tests.planner.recorded import CPU, GIB, RecordedReadings, listed_gpu

BUILTIN = SHIPPED_FILE.with_name("builtin.gguf")
CONTENT = BUILTIN.read_bytes()
REPO = "owner/tiny-GGUF"
SIZES = {"Q2_K": 3 * GIB, "Q4_K_M": 5 * GIB, "Q6_K": 7 * GIB, "Q8_0": 9 * GIB, "F16": 16 * GIB}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as hub:
        hub.repositories[REPO] = {"tiny-Q4_K_M.gguf": CONTENT, "tiny-Q8_0.gguf": CONTENT}
        yield hub


@pytest.fixture
def settings(hub: Hub, tmp_path: Path) -> Settings:
    folders = {
        variable: str(tmp_path / variable)
        for variable in (
            "LOCALSERVE_HOME",
            "HF_HOME",
            "LLAMA_CACHE",
            "OLLAMA_MODELS",
            "LOCALSERVE_LM_STUDIO_MODELS_DIR",
        )
    }
    return read_settings({}, {**folders, "HF_ENDPOINT": hub.url})


@pytest.fixture
def hardware(readings: RecordedReadings, settings: Settings) -> Hardware:
    readings.listed = [CPU]
    return probe(settings, readings)


def _propose(text: str, settings: Settings, hardware: Hardware) -> Proposal:
    wanted = parse_wanted(text, Registry(), settings)
    assert isinstance(wanted, Wanted)
    found = propose(wanted, Registry(), settings, hardware)
    assert isinstance(found, Proposal)
    return found


@pytest.mark.parametrize(
    ("gpu", "ram", "picked", "why"),
    [
        (0, 40, "Q4_K_M", "the usual compromise"),
        (24, 40, "Q8_0", "wholly on the GPU"),
        (8.5, 40, "Q6_K", "wholly on the GPU"),
        (4.5, 40, "Q4_K_M", "the usual compromise"),  # Q2_K would fit on the GPU
        (0, 4.5, "Q2_K", "the largest that fits"),
        (0, 2, "Q2_K", "the smallest there is"),
    ],
)
def test_the_quantization_suits_the_machine(gpu: float, ram: float, picked: str, why: str) -> None:
    room = Room(int(gpu * GIB), int(ram * GIB))
    quantization, reason = pick_quantization(SIZES, GIB, room)
    assert quantization == picked
    assert why in reason


def test_a_single_quantization_needs_no_reason() -> None:
    assert pick_quantization({"": 5 * GIB}, 0, Room(0, 0)) == ("", "")


def test_the_verdict_says_where_the_model_fits_with_numbers(
    readings: RecordedReadings, settings: Settings
) -> None:
    facts = read_local(BUILTIN).facts
    readings.listed = [CPU]
    in_ram = judge(facts, probe(settings, readings), settings)
    assert (in_ram.level, in_ram.place) == ("fits", "RAM")
    assert "with 8192 tokens of context" in in_ram.text
    assert "44.8 GiB are free: it fits in RAM" in in_ram.text
    readings.listed = [listed_gpu(), CPU]
    on_gpu = judge(facts, probe(settings, readings), settings)
    assert (on_gpu.level, on_gpu.place) == ("fits", "the GPU")


def test_the_context_is_the_asked_one_and_at_most_the_trained_one(
    hardware: Hardware, settings: Settings
) -> None:
    facts = read_local(BUILTIN).facts
    entry = ModelSpec("x", HubFile("o/r"), context_tokens=4096)
    assert judge(facts, hardware, settings, entry).context_tokens == 4096
    asked = dataclasses.replace(settings, context_tokens=1 << 20)
    trained = facts.hyperparameters.context_length
    assert judge(facts, hardware, asked, entry).context_tokens == trained


def test_memory_that_others_hold_is_told_from_memory_that_is_not_there(
    hardware: Hardware, settings: Settings
) -> None:
    facts = read_local(BUILTIN).facts
    busy = dataclasses.replace(hardware.memory, available_bytes=0)
    now = judge(facts, dataclasses.replace(hardware, memory=busy), settings)
    assert now.level == "not now"
    assert "0 MiB of 60.8 GiB are free" in now.text
    none = dataclasses.replace(busy, total_bytes=GIB // 2, usable_bytes=GIB // 2)
    never = judge(facts, dataclasses.replace(hardware, memory=none), settings)
    assert never.level == "too large"
    assert "this machine has 0 MiB for models: it cannot run here" in never.text


def test_a_proposal_fetches_headers_and_no_weights(
    hub: Hub, settings: Settings, hardware: Hardware
) -> None:
    found = _propose(REPO, settings, hardware)
    assert found.package.quantization == "Q4_K_M"
    assert found.package.place_of(found.package.files[0]) == (
        settings.models_dir / REPO / "tiny-Q4_K_M.gguf"
    )
    assert found.why == (
        "Q4_K_M: the usual compromise of size and quality, which fits this machine",
    )
    assert not settings.models_dir.exists()
    assert all("Q8_0" not in line for line in hub.requests)
    assert _propose(f"{REPO}:q8_0", settings, hardware).package.quantization == "Q8_0"


def test_a_projector_of_the_repository_comes_along(
    hub: Hub, settings: Settings, hardware: Hardware
) -> None:
    hub.repositories[REPO] |= {"mmproj-F16.gguf": b"GGUF", "mmproj-F32.gguf": b"GGUF"}
    found = _propose(REPO, settings, hardware)
    assert found.package.projector is not None
    assert found.why[-1] == "mmproj-F16.gguf: one of 2 projectors, for images or sound"
    wanted = parse_wanted(REPO, Registry(), settings)
    assert isinstance(wanted, Wanted)
    without = propose(wanted, Registry(), settings, hardware, projector=False)
    assert isinstance(without, Proposal)
    assert without.package.projector is None


def test_the_very_file_in_another_program_s_folder_is_found(
    hub: Hub, settings: Settings, hardware: Hardware
) -> None:
    path = settings.llama_cache_dir / "tiny-Q4_K_M.gguf"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    wanted = parse_wanted(REPO, Registry(), settings)
    assert isinstance(wanted, Wanted)
    found = propose(wanted, Registry(), settings, hardware)
    assert isinstance(found, FoundModel)
    assert found.path == path
    assert isinstance(propose(wanted, Registry(), settings, hardware, copy=True), Proposal)


def test_a_model_that_this_llama_cpp_cannot_load_is_refused(
    hub: Hub, settings: Settings, hardware: Hardware
) -> None:
    architecture = struct.pack("<Q", 5) + b"llama"
    assert architecture in CONTENT
    other = CONTENT.replace(architecture, struct.pack("<Q", 5) + b"qwen9", 1)
    hub.repositories[REPO] = {"tiny-Q4_K_M.gguf": other}
    with pytest.raises(ModelUnusable, match="qwen9"):
        _propose(REPO, settings, hardware)
    hub.repositories[REPO] = {"tiny-Q4_K_M.gguf": CONTENT[:1000]}
    with pytest.raises(ModelMalformed):
        _propose(REPO, settings, hardware)


def test_a_repository_of_several_models_lists_them(
    hub: Hub, settings: Settings, hardware: Hardware
) -> None:
    hub.repositories[REPO] |= {"other-Q4_K_M.gguf": CONTENT}
    with pytest.raises(ModelUnusable, match=r"2 models of Q4_K_M: other-.*, tiny-") as caught:
        _propose(REPO, settings, hardware)
    assert f"{hub.url}/{REPO}/resolve/main/FILE" in caught.value.hint
    one = _propose(f"{hub.url}/{REPO}/resolve/main/other-Q4_K_M.gguf", settings, hardware)
    assert one.package.files[0].name == "other-Q4_K_M.gguf"


def test_a_missing_shard_is_refused_beforehand(
    hub: Hub, settings: Settings, hardware: Hardware
) -> None:
    hub.repositories[REPO] = {"tiny-Q4_K_M-00001-of-00002.gguf": CONTENT}
    with pytest.raises(ModelUnusable, match="missing: tiny-Q4_K_M-00002-of-00002"):
        _propose(f"{REPO}:Q4_K_M", settings, hardware)


def test_a_file_at_an_address_is_proposed_too(
    hub: Hub, settings: Settings, hardware: Hardware
) -> None:
    found = _propose(f"{hub.url}/plain/{REPO}/tiny-Q8_0.gguf", settings, hardware)
    assert found.package.files[0].size_bytes == len(CONTENT)
    assert found.package.name == "tiny-Q8_0"


def test_a_bound_on_the_memory_of_models_bounds_the_verdict(
    readings: RecordedReadings, settings: Settings
) -> None:
    readings.listed = [CPU]
    bounded = dataclasses.replace(settings, model_ram_bytes=16 << 20)
    verdict = judge(read_local(BUILTIN).facts, probe(bounded, readings), bounded)
    assert (verdict.level, verdict.free_bytes, verdict.most_bytes) == (
        "too large",
        16 << 20,
        16 << 20,
    )
    assert "LOCALSERVE_MODEL_RAM_BYTES leaves models 16 MiB: it cannot run here" in verdict.text


def test_a_model_in_the_root_goes_before_one_of_its_quantization_in_a_folder(
    hub: Hub, settings: Settings, hardware: Hardware
) -> None:
    content = next(iter(hub.repositories["owner/tiny-GGUF"].values()))
    files = {"MTP/tiny-Q4_K_M.gguf": content, "tiny-Q4_K_M.gguf": content}
    hub.repositories["owner/folders"] = files
    found = _propose("owner/folders:Q4_K_M", settings, hardware)
    assert [file.name for file in found.package.files] == ["tiny-Q4_K_M.gguf"]
