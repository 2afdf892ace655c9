"""What a plan says of a GPU's memory, beside what the driver says."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks import gpu_memory
from benchmarks.gpu_memory import MIB, Row, cases, compare, main, section
from benchmarks.make_model import WeightType, make_model
from benchmarks.shapes import SHAPES, ShapeName
from localserve.planner.nvml import DriverGpu, Nvml


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.gguf"
    make_model(path, SHAPES[ShapeName.TINY], WeightType.F16)
    return path


def driver(monkeypatch: pytest.MonkeyPatch, *used_mib: int) -> None:
    """A driver with one GPU of 1,000 MiB, on which so much is in use, one answer after another."""
    answers = iter(used_mib)

    def read(library: object, name_of: object) -> Nvml:
        free = (1_000 - next(answers)) * MIB
        gpu = DriverGpu("a GPU", "GPU-1", None, "0000:01:00.0", 1_000 * MIB, free, ())
        return Nvml("580", "13.0", (gpu,), ())

    monkeypatch.setattr(gpu_memory, "read_nvml", read)


def test_the_driver_is_asked_before_after_loading_and_after_work(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver(monkeypatch, 10, 110, 140)
    monkeypatch.setenv("LOCALSERVE_HOME", str(tmp_path))
    row = compare(tiny, ("--ctx", "4096", "--gpu-layers", "0"), 2, tmp_path)
    assert row == Row("tiny", "--ctx 4096 --gpu-layers 0", 0, 0, 100 * MIB, 130 * MIB)


def test_half_of_the_layers_is_one_of_the_cases(tiny: Path) -> None:
    assert ("--ctx", "8192", "--gpu-layers", "1") in cases(tiny)


def test_each_row_says_what_was_not_planned() -> None:
    row = Row("some", "--ctx 8192", 5_000 * MIB, 5_001 * MIB, 5_400 * MIB, 5_500 * MIB)
    assert section([row]).rows == (
        ("some", "--ctx 8192", "5,000", "5,001", "5,400", "5,500", "500"),
    )


def test_without_a_gpu_it_says_so(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = Nvml(None, None, (), ("no driver",))
    monkeypatch.setattr(gpu_memory, "read_nvml", lambda library, name_of: nothing)
    app = typer.Typer()
    app.command()(main)
    result = CliRunner().invoke(app, [str(tiny)])
    assert result.exit_code == 1
    assert "tells of no GPU" in result.output
