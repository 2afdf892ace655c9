"""The programs of scripts/, which lie in no package, as modules; and fake tools on the PATH."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPTS = Path(__file__).parent.parent.parent / "scripts"

Tool = Callable[..., Path]


@pytest.fixture
def toolchain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """scripts/toolchain.py on a Linux whose file system is an empty folder."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    module = importlib.import_module("toolchain")
    monkeypatch.setattr(module, "SYSTEM", tmp_path / "system")
    monkeypatch.setattr(module.platform, "system", lambda: "Linux")
    return module


@pytest.fixture
def environment(
    toolchain: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> ModuleType:
    """scripts/environment.py with a .venv of its own."""
    module = importlib.import_module("environment")
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    monkeypatch.setattr(module, "VENV", venv)
    monkeypatch.setattr(module, "STAMP", venv / "stamp.json")
    monkeypatch.setattr(module, "LOG", venv / "install.log")
    return module


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Tool:
    """Makes shell scripts in a folder that is the whole PATH."""
    if sys.platform == "win32":
        pytest.skip("fake tools are shell scripts")
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for variable in (
        "CMAKE_ARGS",
        "CUDACXX",
        "CUDA_HOME",
        "CUDA_PATH",
        "CUDAToolkit_ROOT",
        "CXX",
        "LOCALSERVE_BACKEND",
        "VULKAN_SDK",
    ):
        monkeypatch.delenv(variable, raising=False)

    def make(name: str, prints: str = "", status: int = 0, folder: Path = folder) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / name
        echo = 'while read -r line; do echo "$line"; done'
        path.write_text(f"#!/bin/sh\n{echo} <<'END'\n{prints}\nEND\nexit {status}\n")
        path.chmod(0o755)
        return path

    return make
