"""Makes or updates the environment in .venv, with llama.cpp compiled for this machine.

    python3 scripts/environment.py [GROUP ...]

installs localserve and the named dependency groups of pyproject.toml (test, check, browser, bench,
train). Needs only Python 3.11 or later, a C++ compiler and cmake. Does nothing when nothing has
changed.

LOCALSERVE_BACKEND = cpu, cuda, metal or vulkan says what to compile llama.cpp for; without it, it
is the GPU that is found (toolchain.py says how), else the CPU. CMAKE_ARGS reaches the build.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from toolchain import MISSING, Refused, Toolchain, find_toolchain, how_to_get, missing_tools

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "localserve-installed.json"
LOG = VENV / "install.log"
LLAMA = "llama-cpp-python"

GPU_DEVICES = {"cuda": ("CUDA",), "metal": ("MTL", "Metal"), "vulkan": ("Vulkan",)}
"""How llama.cpp's names of such devices begin (Metal's is 'MTL0', or 'Metal' in older builds)."""

DEVICES = """
from localserve.llama.devices import devices
print(*(device.name for device in devices()), sep="\\n")
"""


def main(groups: list[str]) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 (it may well be started with an older one)
        return fail(f"This is Python {platform.python_version()}; localserve needs 3.11 or later.")
    try:
        toolchain = find_toolchain()
    except Refused as refused:
        return fail(str(refused))
    wanted = {"backend": toolchain.backend, "pyproject": fingerprint(), "python": sys.version}
    stamp = read_stamp()
    if stamp.items() >= wanted.items() and set(groups) <= set(stamp["groups"]):
        return 0
    if missing := missing_tools():
        return fail("\n       ".join([*(MISSING[tool] for tool in missing), how_to_get(*missing)]))
    for note in toolchain.notes:
        say(note)
    if stamp.get("backend") != toolchain.backend:
        say(f"llama.cpp is going to be compiled for {toolchain.why}: some minutes the first time.")
    groups = sorted({*groups, *stamp.get("groups", [])})
    if not make_venv(usable=stamp.get("python") == sys.version):
        return 1
    if not install(toolchain, groups) or not check_devices(toolchain):
        return 1
    STAMP.write_text(json.dumps({**wanted, "groups": groups}))
    return 0


def fingerprint() -> str:
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()


def read_stamp() -> dict[str, object]:
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def make_venv(usable: bool) -> bool:
    if usable and python().exists():
        return True
    say(f"making the environment {VENV.name}")
    command = [sys.executable, "-m", "venv", "--clear", str(VENV)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        say((done.stderr or done.stdout).strip())
        fail(f"The environment {VENV} could not be made with {sys.executable}.")
    return done.returncode == 0


def python() -> Path:
    folder = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    return VENV / folder


def install(toolchain: Toolchain, groups: list[str]) -> bool:
    if not pip("install", "--upgrade", "pip>=25.1", label="pip"):
        return False
    arguments = ["install", "--editable", str(ROOT)]
    for group in groups:
        arguments += ["--group", f"{ROOT / 'pyproject.toml'}:{group}"]
    return pip(*arguments, toolchain=toolchain, label=" and ".join(["localserve", *groups]))


def check_devices(toolchain: Toolchain) -> bool:
    """Ask the library for its devices; where they are others than wanted, compile it anew.

    Installing compiles nothing where a llama.cpp is there already, or where pip has kept a wheel
    of an earlier build, which may have been made for another backend.
    """
    backend = toolchain.backend
    if suits(backend, found_devices()):
        return True
    say(f"The llama.cpp that was there is not one for {toolchain.why}: compiling it again.")
    arguments = ["install", "--force-reinstall", "--no-deps", "--no-cache-dir"]
    if not pip(*arguments, "--no-binary", LLAMA, LLAMA, toolchain=toolchain, label=LLAMA):
        return False
    devices = found_devices()
    if devices is None:
        return not fail(f"llama.cpp was compiled for {backend} and cannot be loaded; see {LOG}.")
    if not suits(backend, devices):
        say(
            f"llama.cpp was compiled for {backend} and finds other devices:"
            f" {' '.join(devices)}; see {LOG}."
        )
    return True


def suits(backend: str, devices: list[str] | None) -> bool:
    """Whether a library with these devices (None: it cannot be loaded) is one for the backend."""
    if devices is None:
        return False
    if backend != "cpu":
        return any(name.startswith(GPU_DEVICES[backend]) for name in devices)
    return not any(name.startswith(begins) for name in devices for begins in GPU_DEVICES.values())


def found_devices() -> list[str] | None:
    """The names of the devices that the installed library knows; None if it cannot be loaded."""
    command = [str(python()), "-c", DEVICES]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        with LOG.open("a") as log:
            log.write(f"\nasking llama.cpp for its devices failed:\n{done.stderr}")
        return None
    return done.stdout.split()


def pip(*arguments: str, label: str, toolchain: Toolchain | None = None) -> bool:
    """Run pip with a line that shows that it lives; its output goes to the log."""
    environment = build_environment(toolchain)
    command = [str(python()), "-m", "pip", *arguments]
    began = time.monotonic()
    with LOG.open("ab") as log:
        log.write(f"\n$ {' '.join(command)}\n".encode())
        log.flush()
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        try:
            status = wait(process, began, label)
        except KeyboardInterrupt:
            process.terminate()
            raise
    if status != 0:
        tail = LOG.read_text(errors="replace").splitlines()[-15:]
        say("\n".join(tail))
        fail(f"Installing {label} failed; all of it is in {LOG}.")
        if toolchain is not None and toolchain.backend != "cpu":
            say(
                "       To do without the GPU for now, set LOCALSERVE_BACKEND=cpu and run it again."
            )
    return status == 0


def build_environment(toolchain: Toolchain | None) -> dict[str, str]:
    """This process's environment, with what the build of llama.cpp is told."""
    environment = dict(os.environ)
    environment.setdefault("CMAKE_BUILD_PARALLEL_LEVEL", str(os.cpu_count() or 1))
    if toolchain is not None:
        given = environment.get("CMAKE_ARGS", "")
        environment["CMAKE_ARGS"] = " ".join([given, *toolchain.cmake_flags]).strip()
        environment |= toolchain.environ
    return environment


def wait(process: subprocess.Popen[bytes], began: float, label: str) -> int:
    terminal = sys.stderr.isatty()
    if not terminal:
        say(f"installing {label}")
    while (status := process.poll()) is None:
        time.sleep(0.2)
        if terminal:
            print(
                f"\rinstalling {label} … {time.monotonic() - began:.0f} s", end="", file=sys.stderr
            )
    if terminal:
        print(file=sys.stderr)
    return status


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def fail(text: str) -> int:
    say(f"error: {text}")
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
