"""What a model needs, of its file: by llama.cpp's own count, else by formula."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from localserve.backends.loading import LoadOptions
from localserve.backends.placement import place_model
from localserve.catalog.headers import read_local
from localserve.catalog.spec import HubFile, LocalFile, ModelSpec
from localserve.config import MOST_CHECKPOINTS, read_settings
from localserve.errors import ModelMalformed, ModelUnusable
from localserve.manager import estimate
from localserve.manager.estimate import FileEstimate, as_if_alone
from localserve.manager.room import MachineRoom
from localserve.planner.dry_run import Refused
from localserve.planner.hardware import probe, refresh
from localserve.planner.plan import Wanted
from tests.gguf.projectors import write_projector
from tests.gguf.small_models import SMALL_MODELS, write_small_model
from tests.llama.window_model import WINDOW
from tests.planner.recorded import CPU, NO_NVML, RecordedReadings, listed_gpu, nvml_gpu


@pytest.fixture
def cut_off(tiny_f16: Path, tmp_path: Path) -> Path:
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny_f16.read_bytes()[:5_000])
    return path


def of(path: Path, **more: object) -> ModelSpec:
    return ModelSpec("tiny", LocalFile(path), **more)  # type: ignore[arg-type]


@pytest.fixture
def estimator(tmp_path: Path) -> Callable[..., FileEstimate]:
    """Estimates for a recorded machine without a GPU."""
    settings = read_settings(environ={"LOCALSERVE_HOME": str(tmp_path / "home")})
    room = MachineRoom(settings, RecordedReadings(tmp_path / "machine"))

    def make(**wanted: object) -> FileEstimate:
        options = LoadOptions(wanted=Wanted(**wanted), settings=settings)  # type: ignore[arg-type]
        return FileEstimate(lambda spec: options, room.look, dict)

    return make


Make = Callable[..., FileEstimate]


async def test_it_is_asked_once_for_each_way_of_running(
    tiny_f16: Path, estimator: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    real = estimate.dry_run

    def counting(path: Path, runtimes: list[object]) -> object:
        asked.append(runtimes)
        return real(path, runtimes)  # type: ignore[arg-type]

    monkeypatch.setattr(estimate, "dry_run", counting)
    ask = estimator(parallel=2)
    whole, again, half = [
        await ask(of(tiny_f16, context_tokens=2_048), Wanted(context_tokens=asked_for))
        for asked_for in (None, None, 1_024)
    ]
    assert whole == again
    assert len(asked) == 2
    assert (whole.runtime.context_tokens, half.runtime.context_tokens) == (2_048, 1_024)
    assert whole.usage.cache_bytes == 2 * half.usage.cache_bytes
    assert whole.device_bytes["CPU"] == whole.usage.total_bytes + whole.usage.output_bytes


async def test_checkpoints_are_charged_where_the_model_needs_some(
    tiny_f16: Path, window_model: Path, estimator: Make
) -> None:
    plain, windowed = [await estimator()(of(path), Wanted()) for path in (tiny_f16, window_model)]
    assert plain.usage.checkpoint_bytes == 0
    charged = windowed.usage.checkpoint_bytes
    assert charged == MOST_CHECKPOINTS * 5 * WINDOW * 2 * 32 * 2  # layers, keys and values, f16
    usage = windowed.usage
    assert windowed.device_bytes["CPU"] == usage.total_bytes + usage.output_bytes + charged


async def test_where_llama_cpp_does_not_tell_the_formula_does(
    tiny_f16: Path, estimator: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = estimator(parallel=2)
    exact = await asked(of(tiny_f16), Wanted())
    monkeypatch.setattr(estimate, "dry_run", lambda *question: [Refused("it does not say")])
    guessed = await estimator(parallel=2)(of(tiny_f16), Wanted())
    assert guessed.runtime == exact.runtime
    assert guessed.usage.weights_bytes == pytest.approx(exact.usage.weights_bytes, rel=0.05)
    assert guessed.usage.cache_bytes == exact.usage.cache_bytes


async def test_a_model_that_ends_the_child_is_never_loaded(
    tiny_f16: Path, estimator: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = Refused("llama.cpp gave up on this file (SIGABRT): GGML_ASSERT", crashed=True)
    monkeypatch.setattr(estimate, "dry_run", lambda *question: [crash])
    with pytest.raises(ModelUnusable, match="SIGABRT"):
        await estimator()(of(tiny_f16), Wanted())


async def test_what_the_file_cannot_do_is_said_before_anything_is_loaded(
    tiny_f16: Path, cut_off: Path, estimator: Make
) -> None:
    with pytest.raises(ModelUnusable, match=r"1000000"):
        await estimator(context_tokens=1_000_000)(of(tiny_f16), Wanted())
    with pytest.raises(ModelMalformed):
        await estimator()(of(cut_off), Wanted())
    with pytest.raises(ModelUnusable, match="not on this disk"):
        await estimator()(ModelSpec("far", HubFile("a/b")), Wanted())


async def test_room_is_kept_for_what_the_entry_names_beside_the_model(
    tiny_f16: Path, estimator: Make, tmp_path: Path
) -> None:
    eyes = write_projector(tmp_path / "mmproj.gguf")
    alone = await estimator()(of(tiny_f16), Wanted())
    both = await estimator()(of(tiny_f16, projector=eyes, draft=str(tiny_f16)), Wanted())
    kinds = [one.kind for one in both.usage.beside]
    assert kinds == ["mmproj", "draft"]
    assert both.usage.total_bytes == alone.usage.total_bytes
    beside = sum(one.total_bytes for one in both.usage.beside)
    assert both.device_bytes["CPU"] == alone.device_bytes["CPU"] + beside
    assert (alone.placed.draft, both.placed.draft) == (None, tiny_f16)
    touched = both.touched_bytes["CPU"] - alone.touched_bytes["CPU"]
    assert 0 < touched < both.usage.beside_bytes("draft")


async def test_a_companion_that_is_not_here_keeps_no_model_from_being_loaded(
    tiny_f16: Path, estimator: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gone = of(tiny_f16, projector=tmp_path / "gone.gguf")
    assert (await estimator()(gone, Wanted())).usage.beside == ()
    assert "no room is kept beside it: There is no file" in caplog.text


async def test_a_draft_that_cannot_guess_is_refused_before_anything_is_loaded(
    tiny_f16: Path, window_model: Path, estimator: Make, tmp_path: Path
) -> None:
    other = write_small_model(tmp_path / "other.gguf", SMALL_MODELS["llama"])
    with pytest.raises(ModelUnusable) as refused:
        await estimator()(of(tiny_f16, draft=str(other)), Wanted())
    assert f"The draft of 'tiny': {other} (512 tokens) cannot" in refused.value.message
    assert "Or serve it without a draft." in (refused.value.hint or "")
    with pytest.raises(ModelUnusable, match=r"The draft of 'tiny': .*nobody"):
        await estimator()(of(tiny_f16, draft="nobody"), Wanted())
    with pytest.raises(ModelUnusable, match="cannot guess"):
        await estimator()(of(window_model, draft=str(tiny_f16)), Wanted())


async def test_the_draft_of_the_command_line_comes_before_the_entry_s(
    tiny_f16: Path, tmp_path: Path
) -> None:
    settings = read_settings(environ={"LOCALSERVE_HOME": str(tmp_path / "home")})
    room = MachineRoom(settings, RecordedReadings(tmp_path / "machine"))
    options = LoadOptions(draft=str(tiny_f16), settings=settings)
    asked = FileEstimate(lambda spec: options, room.look, dict)
    assert (await asked(of(tiny_f16, draft="nobody"), Wanted())).placed.draft == tiny_f16


async def test_no_draft_is_loaded_where_nothing_is_to_be_guessed(
    tiny_f16: Path, estimator: Make
) -> None:
    never = await estimator(guess_tokens=0)(of(tiny_f16, draft=str(tiny_f16)), Wanted())
    assert (never.placed.draft, never.usage.beside) == (None, ())


async def test_what_was_held_on_a_gpu_that_vanished_is_not_counted_as_free(
    tiny_f16: Path, tmp_path: Path
) -> None:
    readings = RecordedReadings(tmp_path / "machine")
    readings.listed, readings.backends = [listed_gpu(), CPU], ["CUDA", "CPU"]
    readings.nvml = {**NO_NVML, "gpus": [nvml_gpu(free_bytes=21 << 30)], "problems": []}
    settings = read_settings(environ={"LOCALSERVE_HOME": str(tmp_path / "home")})
    before = probe(settings, readings)
    readings.nvml["gpus"], readings.listed = [], [CPU]
    alone = as_if_alone(refresh(before, readings), {"CUDA0": 5 << 30})
    assert alone.gpus == ()
    assert alone.devices[0].free_bytes == 0
    options = LoadOptions(settings=settings)
    placed = place_model(
        tiny_f16,
        read_local(tiny_f16).facts,
        "tiny",
        Wanted(context_tokens=512),
        options.settings,
        lambda: bool(alone.gpus),
        lambda settings: alone,
    )
    assert placed.backend == "CPU"
    assert placed.runtime.gpu_layers == 0


def test_what_loaded_models_hold_counts_as_free(tmp_path: Path) -> None:
    readings = RecordedReadings(tmp_path / "machine")
    readings.listed, readings.backends = [listed_gpu(free_bytes=2 << 30), CPU], ["CUDA", "CPU"]
    settings = read_settings(environ={"LOCALSERVE_HOME": str(tmp_path / "home")})
    machine = probe(settings, readings)
    alone = as_if_alone(machine, {"CPU": 3 << 30, "CUDA0": 5 << 30})
    assert alone.memory.available_bytes == machine.memory.available_bytes + (3 << 30)
    assert alone.gpus[0].free_bytes == machine.gpus[0].free_bytes + (5 << 30)


def test_what_they_hold_on_a_gpu_without_memory_of_its_own_counts_once(tmp_path: Path) -> None:
    gib = 1 << 30
    readings = RecordedReadings(tmp_path / "machine")
    gpu = listed_gpu("Vulkan0", backend="Vulkan", kind="igpu", bus_id=None, total_bytes=50 * gib)
    readings.listed, readings.backends = [gpu, CPU], ["Vulkan", "CPU"]
    settings = read_settings(environ={"LOCALSERVE_HOME": str(tmp_path / "home")})
    machine = probe(settings, readings)
    alone = as_if_alone(machine, {"CPU": gib, "Vulkan0": 5 * gib})
    assert alone.memory.available_bytes == machine.memory.available_bytes + 6 * gib
    assert alone.gpus[0].free_bytes == 50 * gib  # bounded by what it may use at most
    assert alone.free_bytes == alone.memory.available_bytes
