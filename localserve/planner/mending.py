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

CHECKOUT = Path(__file__).parent.parent.parent


def rebuild_command(readings: Readings, backend: str) -> str:
    """Compiles llama.cpp for a key of FLAGS into the environment that runs now."""
    if backend in SCRIPT_BACKENDS and (CHECKOUT / "scripts" / "up").exists():
        return f"cd {_quoted(str(CHECKOUT))} && LOCALSERVE_BACKEND={backend} scripts/up"
    pip = f"{_quoted(sys.executable)} -m pip install --force-reinstall --no-cache-dir --no-deps"
    install = f"{pip} --no-binary {PACKAGE} {PACKAGE}"
    if readings.system == "Windows":
        return f'$env:CMAKE_ARGS="{FLAGS[backend]}"; & {install}'
    return f'CMAKE_ARGS="{FLAGS[backend]}" {install}'


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


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path
