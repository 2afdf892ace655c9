"""Graphics cards of all vendors that llama.cpp can or cannot use, and what is said about them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from localserve.config import read_settings
from localserve.planner import mending
from localserve.planner.hardware import Hardware, probe
from localserve.planner.notices import Notice
from localserve.planner.readings import Answer
from tests.planner.recorded import CPU, GIB, NO_NVML, RecordedReadings, listed_gpu, nvml_gpu

NVIDIA, AMD, INTEL, VIRTUAL = "0x10de", "0x1002", "0x8086", "0x1234"
CARD = "NVIDIA GeForce RTX 4090 is in this machine, and llama.cpp cannot use it: "
UNNAMED = "NVIDIA graphics (2684) is in this machine, and llama.cpp cannot use it: "
PIP = f"{sys.executable} -m pip install --force-reinstall --no-cache-dir --no-deps"
WHEEL = (
    f"{PIP} --only-binary llama-cpp-python --extra-index-url {mending.WHEELS}/%s llama-cpp-python"
)
PIP = f"{PIP} --no-binary llama-cpp-python llama-cpp-python"


@pytest.fixture(autouse=True)
def _installed_from_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mending, "CHECKOUT", tmp_path)


def look(readings: RecordedReadings) -> Hardware:
    return probe(read_settings({}, {}), readings)


def notices(readings: RecordedReadings) -> list[Notice]:
    return list(look(readings).notices)


def only(readings: RecordedReadings) -> Notice:
    (notice,) = notices(readings)
    return notice


def nvml(*gpus: dict[str, Any], problems: tuple[str, ...] = ()) -> dict[str, Any]:
    versions = {"driver_version": "580.1", "cuda_version": "13.0"} if gpus else {}
    return {**NO_NVML, **versions, "gpus": list(gpus), "problems": list(problems)}


@pytest.fixture
def with_nvidia(readings: RecordedReadings) -> RecordedReadings:
    """A card whose driver works, beside a virtual display and a network card."""
    readings.card("0000:01:00.0", NVIDIA, "nvidia", device="0x2684")
    readings.card("0000:05:00.0", VIRTUAL, "bochs-drm")
    readings.card("0000:06:00.0", NVIDIA, None, **{"class": "0x020000"})
    readings.nvml = nvml(nvml_gpu())
    return readings


def test_a_machine_without_graphics_needs_no_notice(readings: RecordedReadings) -> None:
    found = look(readings)
    assert found.notices == ()
    assert found.cards == ()


def test_a_card_in_use_needs_no_notice(with_nvidia: RecordedReadings) -> None:
    with_nvidia.backends, with_nvidia.listed = ["CUDA", "CPU"], [listed_gpu(), CPU]
    found = look(with_nvidia)
    assert found.notices == ()
    assert [card.name for card in found.cards] == ["NVIDIA GeForce RTX 4090"]


def test_a_card_used_through_vulkan_needs_no_notice(with_nvidia: RecordedReadings) -> None:
    with_nvidia.listed = [listed_gpu("Vulkan0", backend="Vulkan"), CPU]
    assert notices(with_nvidia) == []


def test_a_build_for_the_cpu_is_said_with_the_command(with_nvidia: RecordedReadings) -> None:
    with_nvidia.tools = {"nvcc"}
    assert only(with_nvidia) == Notice(
        "warning",
        f"{CARD}this build is for CPU only",
        f'CMAKE_ARGS="-DGGML_CUDA=on" {PIP}',
        WHEEL % "cu125",
    )


def test_in_a_checkout_the_script_compiles(
    with_nvidia: RecordedReadings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkout = tmp_path / "check out"
    (checkout / "scripts").mkdir(parents=True)
    (checkout / "scripts" / "up").touch()
    monkeypatch.setattr(mending, "CHECKOUT", checkout)
    with_nvidia.write("/usr/local/cuda/bin/nvcc", "")
    command = f'cd "{checkout}" && LOCALSERVE_BACKEND=cuda scripts/up'
    assert only(with_nvidia).command == command


def test_this_checkout_has_the_script() -> None:
    root = Path(mending.__file__).parent.parent.parent
    assert (root / "scripts" / "up").exists()


def test_a_missing_toolkit_comes_first(with_nvidia: RecordedReadings) -> None:
    with_nvidia.tools = {"apt"}
    notice = only(with_nvidia)
    assert "Compiling it for cuda needs the CUDA toolkit (nvcc) first" in notice.message
    assert notice.command is not None
    assert notice.command.startswith("sudo apt install nvidia-cuda-toolkit && CMAKE_ARGS=")


def test_a_toolkit_that_the_distribution_lacks_is_on_the_web(with_nvidia: RecordedReadings) -> None:
    with_nvidia.tools = {"dnf"}
    notice = only(with_nvidia)
    assert notice.message.endswith("(https://developer.nvidia.com/cuda-downloads)")
    assert notice.command == f'CMAKE_ARGS="-DGGML_CUDA=on" {PIP}'


def test_on_windows_the_command_is_powershells(with_nvidia: RecordedReadings) -> None:
    with_nvidia.system = "Windows"
    with_nvidia.tools = {"nvcc"}
    assert only(with_nvidia).command == f'$env:CMAKE_ARGS="-DGGML_CUDA=on"; & {PIP}'


def test_hidden_cards_are_named_with_what_hides_them(with_nvidia: RecordedReadings) -> None:
    with_nvidia.backends = ["CUDA", "CPU"]
    with_nvidia.environment = {"CUDA_VISIBLE_DEVICES": ""}
    message = f"{CARD}CUDA_VISIBLE_DEVICES='' hides it"
    assert only(with_nvidia) == Notice("info", message, "unset CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize("environment", [{}, {"CUDA_VISIBLE_DEVICES": "0"}])
def test_a_build_for_cuda_that_finds_nothing_names_the_driver(
    with_nvidia: RecordedReadings, environment: dict[str, str]
) -> None:
    with_nvidia.backends = ["CUDA", "CPU"]
    with_nvidia.environment = environment
    assert only(with_nvidia).message == (
        f"{CARD}this build has CUDA, which finds no such device (driver 580.1, which supports"
        " CUDA 13.0; it may be too old for this build)"
    )


@pytest.mark.parametrize("driver", [None, "nouveau"])
def test_a_card_without_nvidias_driver(readings: RecordedReadings, driver: str | None) -> None:
    readings.card("0000:01:00.0", NVIDIA, driver, device="0x2684")
    notice = only(readings)
    assert notice.message == (
        f"{UNNAMED}NVIDIA's driver is not loaded (NVML: NVML Shared Library Not Found)"
    )
    assert notice.level == "warning"


def test_a_driver_updated_under_the_running_one(readings: RecordedReadings) -> None:
    readings.card("0000:01:00.0", NVIDIA, "nvidia", device="0x2684")
    readings.nvml = nvml(problems=("NVML: RM has detected an NVML/RM version mismatch.",))
    notice = only(readings)
    assert "NVIDIA's driver was updated and the old one still runs" in notice.message
    assert notice.command == "sudo reboot"


def test_a_driver_that_hangs_is_a_line_of_text(readings: RecordedReadings) -> None:
    readings.card("0000:01:00.0", NVIDIA, "nvidia", device="0x2684")
    problem = "localserve.planner.nvml did not answer within 20 s"
    readings.answers["localserve.planner.nvml"] = Answer(problem=problem)
    assert only(readings).message == f"{UNNAMED}NVIDIA's driver does not answer ({problem})"


def test_a_driver_that_hides_something_is_told_beside_a_card_in_use(
    with_nvidia: RecordedReadings,
) -> None:
    with_nvidia.listed = [listed_gpu(), CPU]
    with_nvidia.nvml = nvml(nvml_gpu(), problems=("nvmlX: Insufficient Permissions",))
    message = "NVIDIA's driver does not tell everything: nvmlX: Insufficient Permissions"
    assert only(with_nvidia) == Notice("info", message)


def test_one_of_two_cards_in_use(with_nvidia: RecordedReadings) -> None:
    with_nvidia.card("0000:02:00.0", NVIDIA, "nvidia", device="0x1234")
    with_nvidia.listed, with_nvidia.backends = [listed_gpu(), CPU], ["CUDA", "CPU"]
    with_nvidia.environment = {"CUDA_VISIBLE_DEVICES": "0"}
    notice = only(with_nvidia)
    assert notice.message.startswith("NVIDIA graphics (1234) is in this machine")
    assert notice.message.endswith("CUDA_VISIBLE_DEVICES='0' hides it")


def test_four_idle_cards_of_a_kind_are_one_notice(with_nvidia: RecordedReadings) -> None:
    gpus = [nvml_gpu(bus_id=f"0000:0{number}:00.0") for number in (1, 2, 3, 4)]
    for number in (2, 3, 4):
        with_nvidia.card(f"0000:0{number}:00.0", NVIDIA, "nvidia")
    with_nvidia.nvml = nvml(*gpus)
    assert len(notices(with_nvidia)) == 1


@pytest.mark.parametrize(
    ("mark", "vendor", "command"),
    [
        ("/.dockerenv", NVIDIA, "docker run --gpus all ..."),
        ("/run/.containerenv", NVIDIA, "podman run --device nvidia.com/gpu=all ..."),
        ("/.dockerenv", AMD, "docker run --device /dev/kfd --device /dev/dri ..."),
        ("/.dockerenv", INTEL, "docker run --device /dev/dri ..."),
        ("/run/systemd/container", NVIDIA, None),
    ],
)
def test_a_container_that_was_started_without_the_card(
    readings: RecordedReadings, mark: str, vendor: str, command: str | None
) -> None:
    readings.card("0000:01:00.0", vendor, "some-driver")
    readings.write(mark, "lxc")
    notice = only(readings)
    assert notice.message.endswith("the container was started without it")
    assert notice.command == command


def test_a_container_with_the_card_but_another_build(readings: RecordedReadings) -> None:
    readings.card("0000:01:00.0", NVIDIA, "nvidia")
    readings.write("/.dockerenv", "")
    readings.write("/dev/nvidiactl", "")
    readings.nvml = nvml(nvml_gpu())
    assert "this build is for CPU only" in only(readings).message


def test_windows_subsystem_for_linux_has_no_cards_on_the_bus(readings: RecordedReadings) -> None:
    readings.write("/proc/sys/fs/binfmt_misc/WSLInterop", "enabled")
    readings.nvml = nvml(nvml_gpu())
    readings.tools = {"nvcc"}
    found = look(readings)
    assert found.container == "wsl"
    assert found.notices[0].message == f"{CARD}this build is for CPU only"


def test_amd_with_rocm_is_compiled_for_hip(readings: RecordedReadings) -> None:
    memory = {"mem_info_vram_total": str(24 * GIB), "mem_info_vram_used": str(2 * GIB)}
    readings.card("0000:03:00.0", AMD, "amdgpu", product_name="Radeon RX 7900 XTX", **memory)
    readings.write("/opt/rocm/bin/hipcc", "")
    readings.write("/dev/kfd", "")
    found = look(readings)
    assert (found.cards[0].total_bytes, found.cards[0].free_bytes) == (24 * GIB, 22 * GIB)
    assert found.notices == (
        Notice(
            "warning",
            "Radeon RX 7900 XTX is in this machine, and llama.cpp cannot use it: this build is for"
            " CPU only",
            f'CMAKE_ARGS="-DGGML_HIP=on" {PIP}',
            WHEEL % "rocm72",
        ),
    )


def test_amds_accelerators_have_a_class_of_their_own(readings: RecordedReadings) -> None:
    readings.card("0000:03:00.0", AMD, "amdgpu", device="0x74a1", **{"class": "0x120000"})
    assert only(readings).message.startswith("AMD graphics (74a1) is in this machine")


def test_amd_without_rocm_is_compiled_for_vulkan(readings: RecordedReadings) -> None:
    readings.card("0000:03:00.0", AMD, "amdgpu")
    readings.tools = {"pacman"}
    notice = only(readings)
    assert "Compiling it for vulkan needs Vulkan's headers" in notice.message
    assert notice.command == (
        "sudo pacman -S vulkan-headers vulkan-icd-loader shaderc spirv-headers"
        f' && CMAKE_ARGS="-DGGML_VULKAN=on" {PIP}'
    )


def test_a_user_who_may_not_use_amds_device(readings: RecordedReadings) -> None:
    readings.card("0000:03:00.0", AMD, "amdgpu")
    readings.write("/dev/kfd", "")
    readings.refused = {"/dev/kfd"}
    notice = only(readings)
    assert "this user may not use /dev/kfd" in notice.message
    assert notice.command == "sudo usermod -aG render,video $USER"


@pytest.mark.parametrize(
    ("bus_id", "vendor", "total", "level"),
    [
        ("0000:00:02.0", INTEL, None, "info"),
        ("0000:03:00.0", INTEL, None, "warning"),
        ("0000:0f:00.0", AMD, 512 << 20, "info"),
        ("0000:0f:00.0", AMD, 16 * GIB, "warning"),
    ],
)
def test_idle_integrated_graphics_are_no_warning(
    readings: RecordedReadings, bus_id: str, vendor: str, total: int | None, level: str
) -> None:
    memory = {} if total is None else {"mem_info_vram_total": str(total)}
    readings.card(bus_id, vendor, "i915", **memory)
    assert only(readings).level == level


def test_a_card_given_to_a_virtual_machine_is_not_ours(readings: RecordedReadings) -> None:
    readings.card("0000:01:00.0", NVIDIA, "vfio-pci")
    assert look(readings).cards == ()


def mac(readings: RecordedReadings) -> None:
    readings.system, readings.architecture = "Darwin", "arm64"


def test_a_mac_with_metal(readings: RecordedReadings) -> None:
    mac(readings)
    readings.listed = [listed_gpu("MTL0", backend="MTL", bus_id=None, description="Apple M3"), CPU]
    found = look(readings)
    assert found.notices == ()
    assert [gpu.unified for gpu in found.gpus] == [True]


def test_a_mac_whose_build_lacks_metal(readings: RecordedReadings) -> None:
    mac(readings)
    assert only(readings) == Notice(
        "warning",
        "Apple GPU is in this machine, and llama.cpp cannot use it: this build is for CPU only",
        f'CMAKE_ARGS="-DGGML_METAL=on" {PIP}',
        WHEEL % "metal",
    )


def test_windows_tells_cards_by_name(readings: RecordedReadings) -> None:
    readings.system = "Windows"
    names = "Intel(R) UHD Graphics 770\nAMD Radeon RX 6800\nMicrosoft Basic Display Adapter"
    query = "Get-CimInstance Win32_VideoController | ForEach-Object Name"
    readings.commands["powershell", "-NoProfile", "-Command", query] = names
    radeon = listed_gpu(
        "Vulkan0", backend="Vulkan", bus_id="0000:03:00.0", description="AMD Radeon RX 6800"
    )
    readings.listed = [radeon, CPU]
    notice = only(readings)
    assert notice.level == "info"
    assert notice.message.startswith("Intel(R) UHD Graphics 770 is in this machine")


def test_windows_does_not_count_nvidias_cards_twice(readings: RecordedReadings) -> None:
    readings.system = "Windows"
    query = "Get-CimInstance Win32_VideoController | ForEach-Object Name"
    readings.commands["powershell", "-NoProfile", "-Command", query] = "NVIDIA GeForce RTX 4090"
    readings.nvml = nvml(nvml_gpu())
    assert len(look(readings).cards) == 1


def test_a_build_for_an_older_processor_is_said(readings: RecordedReadings) -> None:
    readings.write("/proc/cpuinfo", "flags : avx avx2 fma f16c avx512f")
    readings.features = ["AVX", "FMA", "F16C", "AVX2"]
    notice = only(readings)
    assert notice.message.startswith("The processor has AVX512, and llama.cpp was compiled without")
    assert notice.command == f'CMAKE_ARGS="-DGGML_NATIVE=on" {PIP}'


def test_warnings_come_before_information(with_nvidia: RecordedReadings) -> None:
    with_nvidia.card("0000:00:02.0", INTEL, "i915")
    assert [notice.level for notice in notices(with_nvidia)] == ["warning", "info"]


def test_llama_cpp_that_does_not_answer_is_all_there_is_to_say(
    with_nvidia: RecordedReadings,
) -> None:
    problem = "localserve.llama.devices was ended by SIGSEGV"
    with_nvidia.answers["localserve.llama.devices"] = Answer(problem=problem)
    found = look(with_nvidia)
    (notice,) = found.notices
    assert notice.message.startswith(f"llama.cpp does not answer: {problem}. ")
    assert notice.command is not None
    assert found.devices == ()
    assert found.memory.available_bytes == 48 * GIB
