"""What NVML says, with a fake library for each way in which it fails."""

from __future__ import annotations

import dataclasses
import json
import os

import psutil
import pynvml
import pytest

from localserve.planner.nvml import (
    DriverGpu,
    GpuProcess,
    Nvml,
    from_document,
    pci_bus_id,
    process_name,
    read_nvml,
)
from localserve.planner.readings import Readings
from tests.planner.fake_nvml import (
    LOST,
    NO_PERMISSION,
    NOT_SUPPORTED,
    FakeError,
    FakeGpu,
    FakeNvml,
)

NAMES = {100: "blender", 200: "Xorg"}


def read(library: object) -> Nvml:
    return read_nvml(library, lambda pid: NAMES.get(pid, ""))


def test_a_gpu_and_who_uses_it() -> None:
    gpu = FakeGpu(computing=[(100, 5), (300, None)], drawing=[(200, 1), (100, 2)])
    assert read(FakeNvml([gpu])) == Nvml(
        driver_version="580.95.05",
        cuda_version="13.0",
        gpus=(
            DriverGpu(
                name="NVIDIA GeForce RTX 4090",
                uuid="GPU-1",
                instance_of=None,
                pci_bus_id="0000:01:00.0",
                total_bytes=24,
                free_bytes=21,
                processes=(
                    GpuProcess(100, "blender", 5),
                    GpuProcess(200, "Xorg", 1),
                    GpuProcess(300, "", None),
                ),
            ),
        ),
        problems=(),
    )


def test_old_libraries_answer_with_bytes() -> None:
    gpu = FakeGpu(name=b"Tesla P4", uuid=b"GPU-2", bus_id=b"0000:C1:00.0")
    nvml = read(FakeNvml([gpu], driver=b"470.1"))
    assert nvml.driver_version == "470.1"
    assert (nvml.gpus[0].name, nvml.gpus[0].uuid) == ("Tesla P4", "GPU-2")
    assert nvml.gpus[0].pci_bus_id == "0000:c1:00.0"


@pytest.mark.parametrize(
    "error",
    [
        FakeError("RM has detected an NVML/RM version mismatch.", 18),
        FakeError("Driver Not Loaded", 9),
        OSError("libnvidia-ml.so.1: wrong ELF class"),
        AttributeError("nvmlInit"),
    ],
)
def test_a_library_that_does_not_start_is_a_problem(error: Exception) -> None:
    nvml = read(FakeNvml([FakeGpu()], initialised=error))
    assert nvml == Nvml(None, None, (), (f"NVML: {error}",))


def test_each_thing_that_fails_is_a_problem_and_the_rest_is_told() -> None:
    lost = FakeGpu(uuid="GPU-2", bus_id="00000000:02:00.0", memory=LOST, computing=LOST)
    hidden = FakeGpu(computing=NO_PERMISSION)
    nvml = read(FakeNvml([FakeError("Unknown Error", 999), lost, hidden], driver=LOST))
    assert nvml.driver_version is None
    assert [(gpu.uuid, gpu.free_bytes) for gpu in nvml.gpus] == [("GPU-2", None), ("GPU-1", 21)]
    assert nvml.problems == (
        "nvmlSystemGetDriverVersion: GPU is lost",
        "nvmlDeviceGetHandleByIndex: Unknown Error",
        "nvmlDeviceGetMemoryInfo: GPU is lost",
        "nvmlDeviceGetComputeRunningProcesses: GPU is lost",
        "nvmlDeviceGetComputeRunningProcesses: Insufficient Permissions",
    )


def test_what_a_gpu_just_does_not_have_is_no_problem() -> None:
    nvml = read(
        FakeNvml([FakeGpu(computing=NOT_SUPPORTED, mig=NOT_SUPPORTED, memory=NOT_SUPPORTED)])
    )
    assert nvml.problems == ()
    assert nvml.gpus[0].total_bytes is None


def test_mig_instances_follow_their_gpu() -> None:
    absent = FakeError("Not Found", 6)
    instances: list[FakeGpu | Exception] = [
        FakeGpu(name="MIG 1g.10gb", uuid="MIG-a", memory=(10, 1, 9)),
        absent,
        FakeGpu(name="MIG 2g.20gb", uuid="MIG-b", memory=(20, 0, 20)),
    ]
    gpu = FakeGpu(mig=[1, 1], instances=instances, computing=[(100, 5)])
    nvml = read(FakeNvml([gpu]))
    found = [(one.uuid, one.instance_of, one.pci_bus_id, one.free_bytes) for one in nvml.gpus]
    assert found == [
        ("GPU-1", None, "0000:01:00.0", 21),
        ("MIG-a", "GPU-1", "0000:01:00.0", 9),
        ("MIG-b", "GPU-1", "0000:01:00.0", 20),
    ]
    assert nvml.problems == ()


def test_mig_switched_off_has_no_instances() -> None:
    gpu = FakeGpu(mig=[0, 1], instances=[FakeGpu(uuid="MIG-a")])
    assert len(read(FakeNvml([gpu])).gpus) == 1


def test_the_childs_document_comes_back_whole() -> None:
    told = read(FakeNvml([FakeGpu(computing=[(100, 5)]), FakeGpu(memory=LOST)]))
    assert from_document(json.loads(json.dumps(dataclasses.asdict(told)))) == told


@pytest.mark.parametrize("document", [None, [], {}, {"gpus": [{"name": "x"}], "problems": []}])
def test_another_document_is_refused(document: object) -> None:
    with pytest.raises((TypeError, KeyError)):
        from_document(document)


def test_bus_ids_are_written_as_llama_cpp_does() -> None:
    assert pci_bus_id("00000000:C1:00.0") == "0000:c1:00.0"
    assert pci_bus_id("00010000:0A:00.0") == "10000:0a:00.0"
    assert pci_bus_id("nonsense") == "nonsense"


def test_a_process_has_a_name_and_a_missing_one_none() -> None:
    assert process_name(os.getpid())
    assert process_name(2**22 + 1) == ""


def test_a_name_has_no_control_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil.Process, "name", lambda self: "\x1b[31mred\nline é")
    assert process_name(os.getpid()) == "[31mredline é"


def test_the_real_library_has_all_that_is_asked() -> None:
    """And its errors are told apart by the numbers used here."""
    fake = {name for name in dir(FakeNvml) if name.startswith(("nvml", "NVML"))}
    assert fake <= set(dir(pynvml))
    assert pynvml.NVML_ERROR_NOT_SUPPORTED == FakeNvml.NVML_ERROR_NOT_SUPPORTED
    assert pynvml.NVMLError(pynvml.NVML_ERROR_NOT_FOUND).value == FakeNvml.NVML_ERROR_NOT_FOUND


def test_the_child_answers_on_this_machine_with_or_without_a_driver() -> None:
    answer = Readings().ask("localserve.planner.nvml", timeout_seconds=60)
    assert answer.problem is None
    nvml = from_document(answer.document)
    assert nvml.gpus or nvml.problems


def test_a_process_that_uses_nothing_is_listed_with_zero() -> None:
    library = FakeNvml([FakeGpu(computing=[(100, 0)])])
    assert read(library).gpus[0].processes == (GpuProcess(100, "blender", 0),)
