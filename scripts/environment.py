"""Makes or updates the environment in .venv, with llama.cpp compiled for this machine.

    python3 scripts/environment.py [GROUP ...]

installs localserve and the named dependency groups of pyproject.toml (test, check, bench, train).
Needs only Python 3.11 or later, a C++ compiler and cmake. Does nothing when nothing has changed.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
STAMP = VENV / "localserve-installed.json"
LOG = VENV / "install.log"
LLAMA = "llama-cpp-python"

BACKENDS = {
    "cuda": ["-DGGML_CUDA=on"],
    "metal": ["-DGGML_METAL=on"],
    "vulkan": ["-DGGML_VULKAN=on"],
    "cpu": [],
}
"""What llama.cpp's build is told for each kind of device."""

GPU_DEVICE = {"cuda": "CUDA", "metal": "MTL", "vulkan": "Vulkan"}
"""How llama.cpp's names of such devices begin (Metal's is 'MTL0', or 'Metal' in older builds)."""

DEVICES = """
from localserve.llama.devices import devices
print(*(device.name for device in devices()), sep="\\n")
"""


def main(groups: list[str]) -> int:
    if sys.version_info < (3, 11):  # noqa: UP036 (it may well be started with an older one)
        return fail(f"This is Python {platform.python_version()}; localserve needs 3.11 or later.")
    backend, why = choose_backend()
    wanted = {"backend": backend, "pyproject": fingerprint(), "python": sys.version}
    stamp = read_stamp()
    if stamp.items() >= wanted.items() and set(groups) <= set(stamp["groups"]):
        return 0
    for tool in missing_tools():
        return fail(f"{tool} is needed to compile llama.cpp, and not found.")
    if stamp.get("backend") != backend:
        say(f"llama.cpp is going to be compiled for {why}: some minutes the first time.")
    groups = sorted({*groups, *stamp.get("groups", [])})
    make_venv(stamp.get("python") == sys.version)
    if not install(backend, groups) or not check_devices(backend):
        return 1
    STAMP.write_text(json.dumps({**wanted, "groups": groups}))
    return 0


def choose_backend() -> tuple[str, str]:
    """The backend to compile for, and for whom that is said."""
    given = os.environ.get("CMAKE_ARGS", "")
    for backend, arguments in BACKENDS.items():
        if arguments and any(argument.lower() in given.lower() for argument in arguments):
            return backend, f"{backend}, as CMAKE_ARGS says"
    if platform.system() == "Darwin":
        if platform.machine() == "arm64":
            return "metal", "Apple's Metal"
        return "cpu", "the CPU"
    if nvidia_gpu := first_line("nvidia-smi", "-L"):
        if shutil.which("nvcc") or Path("/usr/local/cuda/bin/nvcc").exists():
            return "cuda", f"CUDA ({nvidia_gpu.split('(')[0].strip()})"
        say("An NVIDIA GPU is here, but no CUDA toolkit (nvcc): install it to use the GPU.")
    if shutil.which("glslc") and first_line("vulkaninfo", "--summary"):
        return "vulkan", "Vulkan"
    return "cpu", "the CPU"


def first_line(*command: str) -> str:
    """The first line that a command prints; empty where it is missing or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().partition("\n")[0]


def missing_tools() -> list[str]:
    missing = [] if shutil.which("cmake") else ["cmake"]
    compilers = [os.environ.get("CXX", ""), "c++", "g++", "clang++", "cl"]
    if not any(compiler and shutil.which(compiler) for compiler in compilers):
        missing.append("A C++ compiler")
    return missing


def fingerprint() -> str:
    return hashlib.sha256((ROOT / "pyproject.toml").read_bytes()).hexdigest()


def read_stamp() -> dict[str, object]:
    try:
        stamp = json.loads(STAMP.read_text())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def make_venv(usable: bool) -> None:
    if not (usable and python().exists()):
        say(f"making the environment {VENV.name}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True)


def python() -> Path:
    folder = "Scripts/python.exe" if os.name == "nt" else "bin/python"
    return VENV / folder


def install(backend: str, groups: list[str]) -> bool:
    if not pip("install", "--upgrade", "pip>=25.1", label="pip"):
        return False
    arguments = ["install", "--editable", str(ROOT)]
    for group in groups:
        arguments += ["--group", f"{ROOT / 'pyproject.toml'}:{group}"]
    return pip(*arguments, backend=backend, label=" and ".join(["localserve", *groups]))


def check_devices(backend: str) -> bool:
    """A wheel that pip kept from another build may know no GPU: compile it anew then."""
    if backend not in GPU_DEVICE or gpu_found(backend):
        return True
    say(f"The llama.cpp that pip had kept knows no {backend} device: compiling it again.")
    arguments = ["install", "--force-reinstall", "--no-deps", "--no-cache-dir"]
    if not pip(*arguments, "--no-binary", LLAMA, LLAMA, backend=backend, label=LLAMA):
        return False
    if not gpu_found(backend):
        say(f"llama.cpp was compiled for {backend} and still finds no such device; see {LOG}.")
    return True


def gpu_found(backend: str) -> bool:
    done = subprocess.run([str(python()), "-c", DEVICES], capture_output=True, text=True)
    names = done.stdout.split()
    return any(name.startswith((GPU_DEVICE[backend], backend.title())) for name in names)


def pip(*arguments: str, label: str, backend: str = "cpu") -> bool:
    """Run pip with a line that shows that it lives; its output goes to the log."""
    environment = dict(os.environ)
    given = environment.get("CMAKE_ARGS", "")
    environment["CMAKE_ARGS"] = " ".join([given, *BACKENDS[backend]]).strip()
    environment["CMAKE_BUILD_PARALLEL_LEVEL"] = str(os.cpu_count() or 1)
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
    return status == 0


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
