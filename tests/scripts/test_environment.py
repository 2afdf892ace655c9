"""Making the environment, with a fake pip and a library that tells of other devices than wanted."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

from tests.scripts.conftest import Tool

FAKE_PYTHON = """\
#!/bin/sh
# As the environment's Python: notes what pip is told, and tells the devices of the library.
echo "$CMAKE_ARGS|$CUDACXX|$*" >> '{calls}'
case "$*" in
    *--no-cache-dir*) cp '{after}' '{devices}' ;;
    -c*) read -r first < '{devices}'; [ "$first" = broken ] && exit 1
         while read -r line; do echo "$line"; done < '{devices}' ;;
esac
"""


class FakeVenv:
    """Where calls of the environment's Python are noted."""

    def __init__(self, folder: Path, python: Path) -> None:
        self._calls = folder / "calls"
        self._devices = folder / "devices"
        self._after = folder / "devices-after"
        python.write_text(
            FAKE_PYTHON.format(calls=self._calls, devices=self._devices, after=self._after)
        )
        python.chmod(0o755)

    def knows(self, devices: str, after_rebuild: str = "") -> None:
        self._devices.write_text(devices + "\n")
        self._after.write_text((after_rebuild or devices) + "\n")

    def pip_calls(self) -> list[str]:
        return [line for line in self._calls.read_text().splitlines() if "|-m pip" in line]


@pytest.fixture
def venv(
    environment: ModuleType, tmp_path: Path, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> FakeVenv:
    tool("cmake")
    tool("c++")
    # Found by the fake Python's shell.
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/bin:/usr/bin")
    monkeypatch.setattr(environment, "make_venv", lambda usable: True)
    monkeypatch.setattr(environment.time, "sleep", lambda seconds: None)
    return FakeVenv(tmp_path, environment.python())


def _wants(
    environment: ModuleType, monkeypatch: pytest.MonkeyPatch, backend: str, **more: object
) -> None:
    wanted = environment.Toolchain(backend, backend, **more)
    monkeypatch.setattr(environment, "find_toolchain", lambda: wanted)


def test_a_first_install_asks_for_the_groups_and_is_remembered(
    environment: ModuleType, venv: FakeVenv, monkeypatch: pytest.MonkeyPatch
) -> None:
    _wants(environment, monkeypatch, "cpu")
    venv.knows("CPU")
    assert environment.main(["bench"]) == 0
    calls = venv.pip_calls()
    assert len(calls) == 2
    assert calls[1].endswith("pyproject.toml:bench")
    assert json.loads(environment.STAMP.read_text())["groups"] == ["bench"]
    assert environment.main(["bench"]) == 0
    assert environment.main([]) == 0
    assert len(venv.pip_calls()) == 2


def test_another_group_keeps_those_that_are_there(
    environment: ModuleType, venv: FakeVenv, monkeypatch: pytest.MonkeyPatch
) -> None:
    _wants(environment, monkeypatch, "cpu")
    venv.knows("CPU")
    assert environment.main(["test"]) == 0
    assert environment.main(["bench"]) == 0
    assert json.loads(environment.STAMP.read_text())["groups"] == ["bench", "test"]


def test_the_build_is_told_of_backend_and_compiler(
    environment: ModuleType, venv: FakeVenv, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMAKE_ARGS", "-DMINE=1")
    _wants(environment, monkeypatch, "cuda", environ={"CUDACXX": "/opt/cuda/bin/nvcc"})
    venv.knows("CUDA0\nCPU")
    assert environment.main([]) == 0
    assert venv.pip_calls()[1].startswith("-DMINE=1 -DGGML_CUDA=on|/opt/cuda/bin/nvcc|-m pip ins")


@pytest.mark.parametrize(
    ("backend", "devices", "rebuilt"),
    [
        ("cuda", "CUDA0\nCPU", False),
        ("cuda", "CPU", True),
        ("cuda", "broken", True),
        ("metal", "MTL0\nBLAS\nCPU", False),
        ("vulkan", "Vulkan0\nCPU", False),
        ("vulkan", "CUDA0\nCPU", True),
        ("cpu", "CPU", False),
        ("cpu", "CUDA0\nCPU", True),
        ("cpu", "broken", True),
    ],
)
def test_a_library_with_other_devices_than_wanted_is_compiled_again_without_pip_s_cache(
    environment: ModuleType,
    venv: FakeVenv,
    monkeypatch: pytest.MonkeyPatch,
    backend: str,
    devices: str,
    rebuilt: bool,
) -> None:
    good = {"cuda": "CUDA0", "metal": "MTL0", "vulkan": "Vulkan0", "cpu": "CPU"}[backend]
    _wants(environment, monkeypatch, backend)
    venv.knows(devices, after_rebuild=good)
    assert environment.main([]) == 0
    last = venv.pip_calls()[-1]
    assert ("--no-cache-dir --no-binary llama-cpp-python llama-cpp-python" in last) is rebuilt


def test_a_gpu_that_a_fresh_build_does_not_find_is_said_and_does_not_stop(
    environment: ModuleType,
    venv: FakeVenv,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _wants(environment, monkeypatch, "cuda")
    venv.knows("CPU")
    assert environment.main([]) == 0
    assert "compiled for cuda and finds other devices: CPU" in capsys.readouterr().err


def test_a_fresh_build_that_cannot_be_loaded_is_an_error(
    environment: ModuleType,
    venv: FakeVenv,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _wants(environment, monkeypatch, "vulkan")
    venv.knows("broken")
    assert environment.main([]) == 1
    assert (
        "error: llama.cpp was compiled for vulkan and cannot be loaded" in capsys.readouterr().err
    )
    assert not environment.STAMP.exists()


def test_a_failing_pip_shows_its_end_and_the_way_without_the_gpu(
    environment: ModuleType,
    venv: FakeVenv,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _wants(environment, monkeypatch, "cuda")
    environment.python().write_text(
        '#!/bin/sh\ncase "$*" in *editable*) echo "nvcc fatal"; exit 1;; esac\n'
    )
    assert environment.main([]) == 1
    said = capsys.readouterr().err
    assert "nvcc fatal" in said
    assert "LOCALSERVE_BACKEND=cpu" in said


def test_missing_tools_and_wrong_backends_end_it_with_one_error(
    environment: ModuleType,
    tool: Tool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tool("apk")
    assert environment.main([]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: cmake is needed")
    assert "apk add cmake build-base" in said
    monkeypatch.setenv("LOCALSERVE_BACKEND", "tpu")
    assert environment.main([]) == 1
    assert "one of cuda, metal, vulkan, cpu" in capsys.readouterr().err


def test_an_environment_that_cannot_be_made_is_an_error_and_no_traceback(
    environment: ModuleType,
    tool: Tool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = tool("python3", "Error: no ensurepip here", status=1)
    monkeypatch.setattr(environment.sys, "executable", str(broken))
    assert not environment.make_venv(usable=False)
    said = capsys.readouterr().err
    assert "no ensurepip here" in said
    assert "could not be made" in said
