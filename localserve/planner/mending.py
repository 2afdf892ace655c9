"""The commands that give a machine a llama.cpp which uses its graphics card.

Pure but for what `Readings` tells. Source: llama.cpp's docs/build.md and llama-cpp-python's
README, for the flags; the distributions' package lists, for the names.
"""

from __future__ import annotations

import sys
from pathlib import Path

from localserve.planner.readings import Readings

FLAGS = {
    "cuda": "-DGGML_CUDA=on",
    "hip": "-DGGML_HIP=on",
    "vulkan": "-DGGML_VULKAN=on",
    "metal": "-DGGML_METAL=on",
    "cpu": "-DGGML_NATIVE=on",
}
"""What llama.cpp's build is told for each kind of device."""

SCRIPT_BACKENDS = ("cuda", "vulkan", "metal", "cpu")
"""Those that scripts/up can be told."""

INSTALL = {
    "apt": "sudo apt install",
    "dnf": "sudo dnf install",
    "pacman": "sudo pacman -S",
    "zypper": "sudo zypper install",
}

VULKAN_PACKAGES = {
    "apt": "libvulkan-dev glslc spirv-headers",
    "dnf": "vulkan-loader-devel glslc spirv-headers-devel",
    "pacman": "vulkan-headers vulkan-icd-loader shaderc spirv-headers",
    "zypper": "vulkan-devel shaderc spirv-headers",
}

CUDA_PACKAGES = {"apt": "nvidia-cuda-toolkit", "pacman": "cuda"}
"""Where the distribution itself has the CUDA toolkit."""

CUDA_PAGE = "https://developer.nvidia.com/cuda-downloads"

PACKAGE = "llama-cpp-python"

WHEELS = "https://abetlen.github.io/llama-cpp-python/whl"
"""llama-cpp-python's own indexes of compiled packages, one for each kind of device."""

CUDA_WHEELS = ((12, 5), (12, 4), (12, 3), (12, 2), (12, 1), (11, 8))
"""The versions of CUDA that there are indexes for, but those of 13: they lack older cards, and a
driver of 13 runs what was made for 12."""

OTHER_WHEELS = {
    ("hip", "Linux"): "rocm72",
    ("hip", "Windows"): "hip-radeon",
    ("vulkan", "Linux"): "vulkan",
    ("vulkan", "Windows"): "vulkan",
    ("metal", "Darwin"): "metal",
}

CHECKOUT = Path(__file__).parent.parent.parent


def install_command(readings: Readings) -> str:
    """Installs packages, whose names follow, into the environment that runs now: one without pip
    is uv's."""
    python = _quoted(sys.executable)
    if readings.has_module("pip"):
        return f"{python} -m pip install"
    return f"uv pip install --python {python}"


def rebuild_command(readings: Readings, backend: str) -> str:
    """Compiles llama.cpp for a key of FLAGS into the environment that runs now."""
    if backend in SCRIPT_BACKENDS and (CHECKOUT / "scripts" / "up").exists():
        return f"cd {_quoted(str(CHECKOUT))} && LOCALSERVE_BACKEND={backend} scripts/up"
    install = f"{_replace_command(readings)} --no-binary {PACKAGE} {PACKAGE}"
    if readings.system == "Windows":
        return f'$env:CMAKE_ARGS="{FLAGS[backend]}"; & {install}'
    return f'CMAKE_ARGS="{FLAGS[backend]}" {install}'


def prebuilt_command(readings: Readings, backend: str, cuda_version: str | None) -> str | None:
    """Installs a package that was compiled for a key of FLAGS; None where nobody makes one.

    `cuda_version` is the latest that the driver supports. It installs nothing where the index has
    no package for this Python.
    """
    if readings.system != "Darwin" and readings.architecture not in ("x86_64", "AMD64"):
        return None
    index = OTHER_WHEELS.get((backend, readings.system))
    if backend == "cuda":
        index = _cuda_wheels(cuda_version)
    if index is None:
        return None
    options = f"--only-binary {PACKAGE} --extra-index-url {WHEELS}/{index}"
    call = "& " if readings.system == "Windows" else ""
    return f"{call}{_replace_command(readings)} {options} {PACKAGE}"


def missing_toolkit(readings: Readings, backend: str) -> str | None:
    """What the compilation lacks, in words; None if it is here."""
    if backend == "cuda":
        found = readings.which("nvcc") or any(
            readings.exists(f"{folder}/bin/nvcc") for folder in ("/usr/local/cuda", "/opt/cuda")
        )
        return None if found else "the CUDA toolkit (nvcc)"
    if backend == "vulkan":
        return None if readings.which("glslc") else "Vulkan's headers and shader compiler (glslc)"
    return None


def toolkit_command(readings: Readings, backend: str) -> str | None:
    """Installs what `missing_toolkit` names; None where only a web page helps."""
    packages = CUDA_PACKAGES if backend == "cuda" else VULKAN_PACKAGES
    manager = next((one for one in INSTALL if readings.which(one)), None)
    if manager is None or manager not in packages or readings.system != "Linux":
        return None
    return f"{INSTALL[manager]} {packages[manager]}"


def _cuda_wheels(supported: str | None) -> str | None:
    try:
        major, minor = map(int, (supported or "").split("."))
    except ValueError:
        return None
    best = next((one for one in CUDA_WHEELS if one <= (major, minor)), None)
    return f"cu{best[0]}{best[1]}" if best else None


def _replace_command(readings: Readings) -> str:
    """Installs a package anew, and it alone."""
    if readings.has_module("pip"):
        return f"{install_command(readings)} --force-reinstall --no-cache-dir --no-deps"
    return f"{install_command(readings)} --reinstall --no-cache --no-deps"


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path
