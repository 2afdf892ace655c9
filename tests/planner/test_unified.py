"""Machines whose GPU computes in the host's memory: one memory, charged once."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from localserve.catalog.headers import read_local
from localserve.cli import fit_table, terminal
from localserve.config import read_settings
from localserve.gguf.facts import GgufFacts
from localserve.planner.bandwidth import NOTHING_MEASURED
from localserve.planner.document import memory_document
from localserve.planner.explain import explain
from localserve.planner.gauge import by_formula
from localserve.planner.hardware import probe
from localserve.planner.machine import PROCESS_BYTES, Machine, machine_of
from localserve.planner.plan import Plan, Wanted, make_plan
from localserve.planner.readings import Amounts
from localserve.planner.sizes import memory_text
from localserve.planner.usage import RAM
from tests.planner.real_shapes import SHAPES, write_header
from tests.planner.recorded import CPU, GIB, RecordedReadings, listed_gpu


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> GgufFacts:
    path = tmp_path_factory.mktemp("shape") / "model.gguf"
    return read_local(write_header(path, SHAPES["qwen3-8b"], "Q4_K_M", words=False)).facts


def apple(folder: Path, total_gib: float, available_gib: float) -> Machine:
    """A Mac whose GPU may use three quarters of its memory."""
    readings = RecordedReadings(folder / "machine")
    readings.system, readings.architecture = "Darwin", "arm64"  # type: ignore[misc]
    readings.memory_amounts = Amounts(int(total_gib * GIB), int(available_gib * GIB))
    working_set = int(total_gib * GIB) * 3 // 4
    gpu = listed_gpu(
        "MTL0", backend="MTL", bus_id=None, free_bytes=working_set, total_bytes=working_set
    )
    readings.listed, readings.backends = [gpu, CPU], ["MTL", "CPU"]
    return found(readings, folder)


def integrated(folder: Path, available_gib: float) -> Machine:
    """A laptop of 32 GiB whose integrated GPU may use half of that."""
    readings = RecordedReadings(folder / "machine")
    readings.memory_amounts = Amounts(32 * GIB, int(available_gib * GIB))
    gpu = listed_gpu(
        "Vulkan0",
        backend="Vulkan",
        kind="igpu",
        bus_id="0000:00:02.0",
        free_bytes=16 * GIB,
        total_bytes=16 * GIB,
    )
    readings.listed, readings.backends = [gpu, CPU], ["Vulkan", "CPU"]
    return found(readings, folder)


def found(readings: RecordedReadings, folder: Path) -> Machine:
    settings = read_settings(environ={"LOCALSERVE_HOME": str(folder)})
    return machine_of(probe(settings, readings), NOTHING_MEASURED)


def planned(facts: GgufFacts, machine: Machine, **wanted: object) -> Plan:
    wish = Wanted(**wanted)  # type: ignore[arg-type]
    return make_plan(facts, wish, machine, by_formula(facts, machine.gpu_names))


@pytest.mark.parametrize("name", ["MTL0", "Vulkan0"])
def test_all_that_is_loaded_takes_the_one_memory_once(
    facts: GgufFacts, tmp_path: Path, name: str
) -> None:
    machine = apple(tmp_path, 32, 24) if name == "MTL0" else integrated(tmp_path, 24)
    plan = planned(facts, machine)
    assert (plan.where, plan.fits) == ("GPU", True)
    on_gpu, in_ram = plan.loads
    assert on_gpu.place == name
    assert on_gpu.needed_bytes == plan.usage.of(name).total_bytes > 0
    everything = plan.usage.total_bytes + plan.usage.output_bytes + PROCESS_BYTES
    assert in_ram.needed_bytes == everything
    assert in_ram.shared_bytes == on_gpu.needed_bytes


def test_where_the_memory_is_too_small_for_both_parts_it_does_not_fit(
    facts: GgufFacts, tmp_path: Path
) -> None:
    needed = planned(facts, apple(tmp_path, 32, 24)).loads[-1].needed_bytes
    margin = 32 * GIB // 20
    enough = apple(tmp_path, 32, (needed + margin) / GIB)
    assert planned(facts, enough).fits
    short = apple(tmp_path, 32, (needed + margin - 1024) / GIB)
    plan = planned(facts, short)
    assert not plan.fits
    assert plan.tightest.place == RAM
    assert plan.loads[0].headroom_bytes > 0  # the GPU alone would do


def test_where_the_gpu_may_not_use_so_much_layers_stay_on_the_processor(
    facts: GgufFacts, tmp_path: Path
) -> None:
    plan = planned(facts, apple(tmp_path, 7.4, 7.4))
    assert (plan.fits, plan.where) == (True, "GPU + RAM")
    everything = plan.usage.total_bytes + plan.usage.output_bytes + PROCESS_BYTES
    assert plan.loads[-1].needed_bytes == everything


def test_the_reasons_and_json_tell_what_is_shared(facts: GgufFacts, tmp_path: Path) -> None:
    machine = apple(tmp_path, 32, 6)
    plan = planned(facts, machine)
    why = explain(plan, machine, by_formula(facts, machine.gpu_names))
    terms = {term.kind: term.size_bytes for term in why.terms}
    assert why.place.name == RAM
    on_gpu = plan.usage.of("MTL0").total_bytes
    assert terms["gpu"] == on_gpu
    assert "other" not in terms
    ram = memory_document(plan)["devices"][-1]
    assert (ram["name"], ram["shared_bytes"]) == (RAM, on_gpu)


def test_the_table_shows_the_gpus_memory_as_part_of_ram(
    facts: GgufFacts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = apple(tmp_path, 32, 24)
    plan = planned(facts, machine)
    lines = {place.name: fit_table._place_line(plan, place).plain for place in machine.places}
    assert "(part of RAM, of which it may use so much)" in lines["MTL0"]
    assert "in use by others" not in lines["MTL0"]
    shared = memory_text(plan.loads[-1].shared_bytes)
    assert f"on the GPU {shared}, output and process" in lines[RAM]
    shown = Console(file=io.StringIO(), width=200)
    monkeypatch.setattr(fit_table, "console", shown)
    monkeypatch.setattr(terminal, "console", shown)
    fit_table.print_catalog([plan], machine)
    assert shown.file.getvalue().count(", part of RAM") == 1  # type: ignore[attr-defined]
