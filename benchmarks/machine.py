"""Where and with what it was measured: the machine, how busy it is, the versions."""

from __future__ import annotations

import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Machine:
    """Where it was measured."""

    processor: str
    cores: int
    memory_gib: float
    system: str


def read_machine() -> Machine:
    """The processor, its physical cores and the memory of this machine."""
    return Machine(
        processor=_processor_name(),
        cores=psutil.cpu_count(logical=False) or psutil.cpu_count() or 1,
        memory_gib=psutil.virtual_memory().total / 2**30,
        system=f"{platform.system()} {platform.release()}",
    )


def busy_share(seconds: float) -> float:
    """The share of all processors in use during the next `seconds`."""
    return psutil.cpu_percent(interval=seconds) / 100


def read_version(package: str) -> str:
    """The installed version of a package, or 'not installed'."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def read_commit() -> str:
    """The checkout's commit, marked when files differ from it; empty outside a checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=10"]
    here = Path(__file__).parent
    done = subprocess.run(command, cwd=here, capture_output=True, text=True, check=False)
    return done.stdout.strip()


def _processor_name() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
