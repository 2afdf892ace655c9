"""What llama.cpp is compiled for on which machine, and what is said where something is missing."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType

import pytest

from tests.scripts import recorded
from tests.scripts.conftest import Tool


@pytest.fixture(autouse=True)
def _as_user(toolchain: ModuleType, tool: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain.os, "geteuid", lambda: 1000)


def _on(toolchain: ModuleType, monkeypatch: pytest.MonkeyPatch, system: str, machine: str) -> None:
    monkeypatch.setattr(toolchain.platform, "system", lambda: system)
    monkeypatch.setattr(toolchain.platform, "machine", lambda: machine)


def _give_vulkan(toolchain: ModuleType, tool: Tool) -> None:
    tool("glslc")
    for name in (
        "include/vulkan/vulkan.h",
        "share/cmake/SPIRV-Headers/SPIRV-HeadersConfig.cmake",
    ):
        path = toolchain.SYSTEM / "usr" / name
        path.parent.mkdir(parents=True)
        path.touch()


def test_without_a_gpu_it_is_the_cpu(toolchain: ModuleType) -> None:
    found = toolchain.find_toolchain()
    assert (found.backend, found.why, found.cmake_flags, found.notes) == ("cpu", "the CPU", [], ())


def test_an_nvidia_gpu_with_a_toolkit_is_cuda(toolchain: ModuleType, tool: Tool) -> None:
    tool("nvidia-smi", recorded.NVIDIA_SMI)
    tool("nvcc")
    found = toolchain.find_toolchain()
    assert (found.backend, found.why) == ("cuda", "CUDA (NVIDIA GeForce RTX 4090)")
    assert found.cmake_flags == ["-DGGML_CUDA=on"]
    assert found.environ == {}


def test_an_nvidia_gpu_without_a_toolkit_is_said_aloud(toolchain: ModuleType, tool: Tool) -> None:
    tool("nvidia-smi", recorded.NVIDIA_SMI)
    found = toolchain.find_toolchain()
    assert found.backend == "cpu"
    (note,) = found.notes
    assert "NVIDIA GeForce RTX 4090" in note
    assert "nvcc" in note


def test_a_broken_driver_is_no_gpu(toolchain: ModuleType, tool: Tool) -> None:
    tool("nvidia-smi", recorded.NVIDIA_SMI_WITHOUT_DRIVER, status=9)
    tool("nvcc")
    assert toolchain.find_toolchain().backend == "cpu"
    tool("nvidia-smi", "No devices were found")
    assert toolchain.find_toolchain().backend == "cpu"


@pytest.mark.parametrize("variable", ["CUDA_HOME", "CUDA_PATH"])
def test_nvcc_in_the_folder_that_a_variable_names_is_handed_to_cmake(
    toolchain: ModuleType,
    tool: Tool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    tool("nvidia-smi", recorded.NVIDIA_SMI)
    nvcc = tool("nvcc", folder=tmp_path / "my toolkit" / "bin")
    monkeypatch.setenv(variable, str(tmp_path / "my toolkit"))
    found = toolchain.find_toolchain()
    assert found.backend == "cuda"
    assert found.environ == {
        "CUDACXX": str(nvcc),
        "CUDAToolkit_ROOT": str(tmp_path / "my toolkit"),
    }


def test_of_the_toolkits_in_usr_local_the_linked_one_then_the_newest_is_taken(
    toolchain: ModuleType, tool: Tool
) -> None:
    local = toolchain.SYSTEM / "usr" / "local"
    tool("nvcc", folder=local / "cuda-9.2" / "bin")
    newest = tool("nvcc", folder=local / "cuda-12.8" / "bin")
    assert toolchain.find_nvcc() == newest
    linked = tool("nvcc", folder=local / "cuda" / "bin")
    assert toolchain.find_nvcc() == linked


def test_what_the_user_set_for_cmake_is_not_overwritten(
    toolchain: ModuleType, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool("nvidia-smi", recorded.NVIDIA_SMI)
    tool("nvcc", folder=toolchain.SYSTEM / "usr" / "local" / "cuda" / "bin")
    monkeypatch.setenv("CUDAToolkit_ROOT", "/mine")
    assert set(toolchain.find_toolchain().environ) == {"CUDACXX"}


@pytest.mark.parametrize("output", [recorded.VULKAN_RADEON, recorded.VULKAN_RADEON_SECOND])
def test_a_vulkan_gpu_with_all_that_its_build_needs_is_vulkan(
    toolchain: ModuleType, tool: Tool, output: str
) -> None:
    tool("vulkaninfo", output)
    _give_vulkan(toolchain, tool)
    found = toolchain.find_toolchain()
    assert found.backend == "vulkan"
    assert found.why == "Vulkan (AMD Radeon RX 7900 XTX (RADV NAVI31))"


@pytest.mark.parametrize(
    "output",
    [recorded.VULKAN_LLVMPIPE, recorded.VULKAN_SWIFTSHADER, recorded.VULKAN_NO_DEVICE],
)
def test_a_software_vulkan_driver_is_no_gpu(toolchain: ModuleType, tool: Tool, output: str) -> None:
    tool("vulkaninfo", output)
    _give_vulkan(toolchain, tool)
    found = toolchain.find_toolchain()
    assert (found.backend, found.notes) == ("cpu", ())


def test_a_vulkan_gpu_without_what_its_build_needs_is_said_with_the_packages(
    toolchain: ModuleType, tool: Tool
) -> None:
    tool("vulkaninfo", recorded.VULKAN_RADEON)
    tool("glslc")
    tool("apt")
    found = toolchain.find_toolchain()
    assert found.backend == "cpu"
    (note,) = found.notes
    assert "the Vulkan headers are and the SPIR-V headers are not found" in note
    assert "sudo apt install libvulkan-dev glslc spirv-headers" in note


def test_apple_silicon_is_metal_and_an_intel_mac_the_cpu(
    toolchain: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    _on(toolchain, monkeypatch, "Darwin", "arm64")
    assert toolchain.find_toolchain().cmake_flags == ["-DGGML_METAL=on"]
    _on(toolchain, monkeypatch, "Darwin", "x86_64")
    assert toolchain.find_toolchain().cmake_flags == ["-DGGML_METAL=off"]


@pytest.mark.parametrize(
    "flag",
    ["-DGGML_VULKAN=on", "-DGGML_VULKAN=1", "-DGGML_VULKAN:BOOL=TRUE", "-Dx=1 -DGGML_VULKAN=ON"],
)
def test_what_cmake_args_switches_on_goes_before_the_gpu(
    toolchain: ModuleType, tool: Tool, monkeypatch: pytest.MonkeyPatch, flag: str
) -> None:
    tool("nvidia-smi", recorded.NVIDIA_SMI)
    tool("nvcc")
    monkeypatch.setenv("CMAKE_ARGS", flag)
    assert toolchain.find_toolchain().backend == "vulkan"


def test_what_cmake_args_switches_off_is_not_chosen(
    toolchain: ModuleType, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool("nvidia-smi", recorded.NVIDIA_SMI)
    tool("nvcc")
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_CUDA=off")
    assert toolchain.find_toolchain().backend == "cpu"


def test_the_variable_goes_before_gpu_and_cmake_args(
    toolchain: ModuleType, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool("nvidia-smi", recorded.NVIDIA_SMI)
    tool("nvcc")
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_CUDA=on")
    monkeypatch.setenv("LOCALSERVE_BACKEND", "CPU")
    found = toolchain.find_toolchain()
    assert (found.backend, found.why) == ("cpu", "cpu, as LOCALSERVE_BACKEND says")
    assert found.cmake_flags == ["-DGGML_CUDA=off"]


def test_forcing_the_cpu_on_a_mac_switches_metal_off(
    toolchain: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    _on(toolchain, monkeypatch, "Darwin", "arm64")
    monkeypatch.setenv("LOCALSERVE_BACKEND", "cpu")
    assert toolchain.find_toolchain().cmake_flags == ["-DGGML_METAL=off"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("gpu", "is 'gpu'; it must be one of cuda, metal, vulkan, cpu"),
        ("metal", "Metal is on Macs only"),
        ("cuda", "nvcc is neither on the PATH nor in CUDA_HOME"),
        ("vulkan", "the shader compiler glslc is and the Vulkan headers are"),
    ],
)
def test_a_backend_that_cannot_be_is_refused_with_what_to_do(
    toolchain: ModuleType, monkeypatch: pytest.MonkeyPatch, value: str, words: str
) -> None:
    monkeypatch.setenv("LOCALSERVE_BACKEND", value)
    with pytest.raises(toolchain.Refused) as caught:
        toolchain.find_toolchain()
    assert words in str(caught.value)


def test_missing_tools_are_named(
    toolchain: ModuleType, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert toolchain.missing_tools() == ["cmake", "compiler"]
    tool("cmake")
    tool("g++")
    assert toolchain.missing_tools() == []
    monkeypatch.setattr(
        toolchain.importlib.util, "find_spec", lambda name: None if name == "ensurepip" else name
    )
    assert toolchain.missing_tools() == ["venv"]


def test_a_compiler_named_by_cxx_counts(
    toolchain: ModuleType, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tool("cmake")
    tool("my-compiler")
    monkeypatch.setenv("CXX", "my-compiler -stdlib=libc++")
    assert toolchain.missing_tools() == []


def test_the_mac_s_stand_in_for_a_compiler_is_none(
    toolchain: ModuleType, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    _on(toolchain, monkeypatch, "Darwin", "arm64")
    tool("cmake")
    tool("c++")
    tool("xcode-select", "xcode-select: error: unable to get active developer directory", status=2)
    assert toolchain.missing_tools() == ["compiler"]
    tool("xcode-select", "/Library/Developer/CommandLineTools")
    assert toolchain.missing_tools() == []


@pytest.mark.parametrize(
    ("system", "manager", "command"),
    [
        ("Linux", "apt", r"sudo apt install cmake g\+\+ python3\.\d+-venv$"),
        ("Linux", "dnf", r"sudo dnf install cmake gcc-c\+\+ python3$"),
        ("Linux", "pacman", r"sudo pacman -S cmake base-devel python$"),
        ("Linux", "zypper", r"sudo zypper install cmake gcc-c\+\+ python3$"),
        ("Linux", "apk", r"sudo apk add cmake build-base python3$"),
        ("Darwin", "brew", r"xcode-select --install && brew install cmake python$"),
        ("Windows", "winget", r"BuildTools .* && winget install Kitware\.CMake Python\."),
    ],
)
def test_the_command_that_installs_what_is_missing_is_the_system_s_own(
    toolchain: ModuleType,
    tool: Tool,
    monkeypatch: pytest.MonkeyPatch,
    system: str,
    manager: str,
    command: str,
) -> None:
    _on(toolchain, monkeypatch, system, "x86_64")
    tool(manager)
    assert re.search(command, toolchain.how_to_get("cmake", "compiler", "venv"))


def test_root_needs_no_sudo_and_a_system_without_a_manager_gets_advice(
    toolchain: ModuleType, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert toolchain.how_to_get("cmake") == "Install it with your system's package manager."
    tool("apt")
    monkeypatch.setattr(toolchain.os, "geteuid", lambda: 0)
    assert toolchain.how_to_get("cmake") == "Run: apt install cmake"


def test_every_manager_knows_what_it_needs_to(toolchain: ModuleType) -> None:
    assert toolchain.PACKAGES.keys() == toolchain.INSTALL.keys()
    for packages in toolchain.PACKAGES.values():
        assert packages.keys() >= {"cmake", "venv"}
