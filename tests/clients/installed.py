"""Client programs from PyPI and npm, each in a folder of its own, installed when they are needed.

They stay in `build/clients`; delete that folder to have newer ones.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "build" / "clients"
INSTALL_SECONDS = 600
RUN_SECONDS = 240


@dataclass(frozen=True, slots=True)
class Installed:
    """A client: its version, and where its programs lie."""

    name: str
    version: str
    folder: Path
    programs: Path

    def run(
        self,
        *command: str,
        home: Path,
        environ: dict[str, str] | None = None,
        text: str = "",
        cwd: Path | None = None,
    ) -> str:
        """What it prints, as a user with that home folder and no terminal. Fails where it does."""
        home.mkdir(parents=True, exist_ok=True)
        program = self.programs / command[0]
        done = subprocess.run(
            [str(program if program.exists() else command[0]), *command[1:]],
            env={
                "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}",
                "HOME": str(home),
                "USERPROFILE": str(home),
                "NO_COLOR": "1",
                "TERM": "dumb",
                "LANG": "C.UTF-8",
                **(environ or {}),
            },
            cwd=cwd or home,
            input=text,
            capture_output=True,
            text=True,
            timeout=RUN_SECONDS,
            check=False,
            start_new_session=True,
        )
        said = f"{done.stdout}\n--- stderr\n{done.stderr}"
        assert done.returncode == 0, f"{self.name} ended with {done.returncode}:\n{said}"
        return done.stdout


def from_pypi(*packages: str) -> Installed:
    """The first package, in a virtual environment that has the others as well."""
    name = packages[0]
    folder = FOLDER / f"pypi-{name}"
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    if not (folder / "installed").exists():
        _make(folder, [sys.executable, "-m", "venv", "--clear", str(folder)])
        _make(folder, [str(programs / "python"), "-m", "pip", "install", "--quiet", *packages])
        (folder / "installed").touch()
    command = [str(programs / "python"), "-c"]
    command.append(f"import importlib.metadata as m; print(m.version({name!r}))")
    version = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    return Installed(name, version, folder, programs)


def from_npm(*packages: str) -> Installed:
    """The first package, in a folder that has the others as well."""
    if (npm := shutil.which("npm")) is None:
        pytest.skip("npm is not installed")
    name = packages[0]
    folder = FOLDER / f"npm-{name.replace('/', '-').removeprefix('@')}"
    if not (folder / "installed").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        options = ["--prefix", str(folder), "--no-fund", "--no-audit", "--loglevel", "error"]
        _make(folder, [npm, "install", *options, *packages])
        (folder / "installed").touch()
    package = folder / "node_modules" / name / "package.json"
    version = json.loads(package.read_text())["version"]
    return Installed(name, version, folder, folder / "node_modules" / ".bin")


def _make(folder: Path, command: list[str]) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    if done.returncode != 0:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"{folder.name} cannot be installed: {done.stderr.strip()[-300:]}")
