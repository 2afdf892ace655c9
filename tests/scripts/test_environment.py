"""Which llama.cpp is compiled for which machine, with fake tools on the PATH."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def environment() -> ModuleType:
    spec = importlib.util.spec_from_file_location("environment", ROOT / "scripts/environment.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Tool = Callable[..., None]


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CMAKE_ARGS", raising=False)
    monkeypatch.delenv("CXX", raising=False)

    def make(name: str, prints: str = "", status: int = 0) -> None:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\necho '{prints}'\nexit {status}\n")
        path.chmod(0o755)

    return make


pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="fake tools are shell scripts")


@pytest.fixture(autouse=True)
def _on_linux(environment: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.platform, "system", lambda: "Linux")
    monkeypatch.setattr(environment.Path, "exists", lambda self: False)


def test_without_a_gpu_it_is_the_cpu(environment: ModuleType, tool: Tool) -> None:
    assert environment.choose_backend()[0] == "cpu"


def test_an_nvidia_gpu_with_a_toolkit_is_cuda(environment: ModuleType, tool: Tool) -> None:
    tool("nvidia-smi", "GPU 0: Some GPU (UUID: GPU-1)")
    tool("nvcc")
    assert environment.choose_backend() == ("cuda", "CUDA (GPU 0: Some GPU)")


def test_an_nvidia_gpu_without_a_toolkit_is_said_aloud(
    environment: ModuleType, tool: Tool, capsys: pytest.CaptureFixture[str]
) -> None:
    tool("nvidia-smi", "GPU 0: Some GPU (UUID: GPU-1)")
    assert environment.choose_backend()[0] == "cpu"
    assert "nvcc" in capsys.readouterr().err


def test_a_broken_driver_is_no_gpu(environment: ModuleType, tool: Tool) -> None:
    tool("nvidia-smi", "couldn't communicate with the driver", status=9)
    tool("nvcc")
    assert environment.choose_backend()[0] == "cpu"


def test_a_vulkan_device_with_a_shader_compiler_is_vulkan(
    environment: ModuleType, tool: Tool
) -> None:
    tool("vulkaninfo", "VULKANINFO")
    assert environment.choose_backend()[0] == "cpu"
    tool("glslc")
    assert environment.choose_backend()[0] == "vulkan"


def test_apple_silicon_is_metal(
    environment: ModuleType, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(environment.platform, "machine", lambda: "arm64")
    assert environment.choose_backend()[0] == "metal"
    monkeypatch.setattr(environment.platform, "machine", lambda: "x86_64")
    assert environment.choose_backend()[0] == "cpu"


def test_what_the_user_says_in_cmake_args_goes_first(
    environment: ModuleType, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMAKE_ARGS", "-DGGML_VULKAN=on")
    assert environment.choose_backend()[0] == "vulkan"


def test_missing_tools_are_named(environment: ModuleType, tool: Tool) -> None:
    assert environment.missing_tools() == ["cmake", "A C++ compiler"]
    tool("cmake")
    tool("g++")
    assert environment.missing_tools() == []


@pytest.mark.parametrize(("found", "rebuilt"), [([True], 0), ([False, True], 1), ([False] * 2, 1)])
def test_a_kept_wheel_without_the_gpu_is_compiled_again(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch, found: list[bool], rebuilt: int
) -> None:
    runs: list[tuple[str, ...]] = []

    def pip(*arguments: str, **_: str) -> bool:
        runs.append(arguments)
        return True

    answers = iter(found)
    monkeypatch.setattr(environment, "pip", pip)
    monkeypatch.setattr(environment, "gpu_found", lambda backend: next(answers))
    assert environment.check_devices("cuda")
    assert len(runs) == rebuilt
    assert all("--no-cache-dir" in arguments for arguments in runs)
