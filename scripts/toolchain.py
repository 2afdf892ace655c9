"""What this machine can compile and compute with: compilers, GPUs, and how to get what is missing.

Asks programs and looks at files; changes nothing and knows nothing of Python environments. Needs
only the standard library: it runs before anything is installed.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

BACKENDS = ("cuda", "metal", "vulkan", "cpu")
VARIABLE = "LOCALSERVE_BACKEND"
SYSTEM = Path("/")
"""Where the file system begins."""

PACKAGES = {
    "apt": {
        "cmake": "cmake",
        "compiler": "g++",
        "venv": f"python3.{sys.version_info.minor}-venv",
        "vulkan": "libvulkan-dev glslc spirv-headers",
    },
    "dnf": {
        "cmake": "cmake",
        "compiler": "gcc-c++",
        "venv": "python3",
        "vulkan": "vulkan-loader-devel glslc spirv-headers-devel",
    },
    "pacman": {
        "cmake": "cmake",
        "compiler": "base-devel",
        "venv": "python",
        "vulkan": "vulkan-headers vulkan-icd-loader shaderc spirv-headers",
    },
    "zypper": {
        "cmake": "cmake",
        "compiler": "gcc-c++",
        "venv": "python3",
        "vulkan": "vulkan-devel shaderc spirv-headers",
    },
    "apk": {
        "cmake": "cmake",
        "compiler": "build-base",
        "venv": "python3",
        "vulkan": "vulkan-loader-dev vulkan-headers shaderc spirv-headers",
    },
    "brew": {"cmake": "cmake", "venv": "python"},
    "winget": {"cmake": "Kitware.CMake", "venv": "Python.Python.3.13"},
}
"""What each package manager calls the things that are needed."""

INSTALL = {
    "apt": "apt install",
    "dnf": "dnf install",
    "pacman": "pacman -S",
    "zypper": "zypper install",
    "apk": "apk add",
    "brew": "brew install",
    "winget": "winget install",
}

MISSING = {
    "cmake": "cmake is needed to compile llama.cpp, and not found.",
    "compiler": "A C++ compiler is needed to compile llama.cpp, and not found.",
    "venv": "This Python cannot make environments: its module venv or ensurepip is missing.",
}

OWN_COMPILER = {
    "Darwin": "xcode-select --install",
    "Windows": 'winget install Microsoft.VisualStudio.2022.BuildTools --override "--wait --passive'
    ' --add Microsoft.VisualStudio.Workload.VCTools --includeRecommended"',
}
"""How a C++ compiler comes to systems where it is not a package like others."""


class Refused(Exception):
    """What was asked for cannot be; the text says what to do."""


@dataclass(frozen=True)
class Toolchain:
    """What llama.cpp is compiled for, and what its build is told.

    `why` says for whom, `notes` what the user should know, `environ` what to set for the build,
    `switched_off` which other backends it must be told to leave out.
    """

    backend: str
    why: str
    environ: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    switched_off: tuple[str, ...] = ()

    @property
    def cmake_flags(self) -> list[str]:
        """What is added to CMAKE_ARGS; of two flags for one thing, CMake takes the last."""
        on = [self.backend] if self.backend != "cpu" else []
        flags = [f"-DGGML_{name.upper()}=on" for name in on]
        return flags + [f"-DGGML_{name.upper()}=off" for name in self.switched_off]


def find_toolchain() -> Toolchain:
    """Decide what to compile for: as told, else by the GPU that is here.

    LOCALSERVE_BACKEND goes before what CMAKE_ARGS switches on, which goes before the GPU.
    Raises: Refused, where LOCALSERVE_BACKEND is no backend, or one that cannot be compiled here.
    """
    if wanted := os.environ.get(VARIABLE, "").strip().lower():
        return _forced(wanted)
    switches = cmake_switches(os.environ.get("CMAKE_ARGS", ""))
    for backend, on in switches.items():
        if on:
            return _with_compiler(backend, f"{backend}, as CMAKE_ARGS says")
    return _for_gpu(excluded={backend for backend, on in switches.items() if not on})


def cmake_switches(arguments: str) -> dict[str, bool]:
    """The GPU backends that CMAKE_ARGS speaks of, and whether it switches them on."""
    found = re.findall(r"-DGGML_(CUDA|METAL|VULKAN)(?::\w+)?=(\w+)", arguments, flags=re.IGNORECASE)
    return {name.lower(): value.lower() in ("on", "1", "true", "yes", "y") for name, value in found}


def _forced(backend: str) -> Toolchain:
    if backend not in BACKENDS:
        choices = ", ".join(BACKENDS)
        raise Refused(f"{VARIABLE} is {backend!r}; it must be one of {choices}, or not set.")
    if backend == "metal" and platform.system() != "Darwin":
        raise Refused(
            f"{VARIABLE} is 'metal', and Metal is on Macs only. Unset it, or name another."
        )
    if backend == "cuda" and find_nvcc() is None:
        raise Refused(
            f"{VARIABLE} is 'cuda', and there is no CUDA toolkit: nvcc is neither on the PATH nor"
            f" in {_looked_in()}. Install it (https://developer.nvidia.com/cuda-downloads), or set"
            " CUDA_HOME to its folder."
        )
    if backend == "vulkan" and (missing := missing_for_vulkan()):
        raise Refused(
            f"{VARIABLE} is 'vulkan', and {' and '.join(missing)} not found. {how_to_get('vulkan')}"
        )
    switches = cmake_switches(os.environ.get("CMAKE_ARGS", ""))
    others = {name for name, on in switches.items() if on and name != backend}
    if platform.system() == "Darwin" and backend != "metal":
        others.add("metal")  # llama.cpp's default there
    toolchain = _with_compiler(backend, f"{backend}, as {VARIABLE} says")
    return replace(toolchain, switched_off=tuple(sorted(others)))


def _with_compiler(backend: str, why: str) -> Toolchain:
    """With what CMake needs to find an nvcc that is not on the PATH.

    Source: CMake's documentation of CUDACXX and of FindCUDAToolkit (CUDAToolkit_ROOT).
    """
    environ = {}
    nvcc = find_nvcc() if backend == "cuda" and shutil.which("nvcc") is None else None
    if nvcc is not None:
        environ = {"CUDACXX": str(nvcc), "CUDAToolkit_ROOT": str(nvcc.parent.parent)}
    return Toolchain(backend, why, {k: v for k, v in environ.items() if k not in os.environ})


def _for_gpu(excluded: set[str]) -> Toolchain:
    notes = []
    if platform.system() == "Darwin":
        if platform.machine() == "arm64" and "metal" not in excluded:
            return Toolchain("metal", "Apple's Metal")
        return Toolchain("cpu", "the CPU", switched_off=("metal",))
    if "cuda" not in excluded and (gpu := nvidia_gpu()):
        if find_nvcc() is not None:
            return _with_compiler("cuda", f"CUDA ({gpu})")
        notes.append(
            f"An NVIDIA GPU is here ({gpu}), but no CUDA toolkit: nvcc is neither on the PATH nor"
            f" in {_looked_in()}. To use the GPU install it"
            " (https://developer.nvidia.com/cuda-downloads), or set CUDA_HOME to its folder."
        )
    if "vulkan" not in excluded and (gpu := vulkan_gpu()):
        missing = missing_for_vulkan()
        if not missing:
            return Toolchain("vulkan", f"Vulkan ({gpu})", notes=tuple(notes))
        notes.append(
            f"A GPU with Vulkan is here ({gpu}), but {' and '.join(missing)} not found. To use the"
            f" GPU: {how_to_get('vulkan')}"
        )
    return Toolchain("cpu", "the CPU", notes=tuple(notes))


def nvidia_gpu() -> str:
    """The first NVIDIA GPU whose driver answers; empty without one."""
    first = printed_by("nvidia-smi", "-L").partition("\n")[0]
    found = re.match(r"GPU \d+: (.*?)\s*(?:\(UUID:|$)", first)
    return found[1] if found else ""


def vulkan_gpu() -> str:
    """The first Vulkan device that is a GPU; empty where only a software driver is.

    llvmpipe, lavapipe and SwiftShader compute on the CPU, much more slowly than llama.cpp does.
    Source: the output of `vulkaninfo --summary`, deviceType before deviceName of each device.
    """
    devices = re.findall(
        r"deviceType\s*=\s*(?:VK_)?PHYSICAL_DEVICE_TYPE_(\w+)\s*\n\s*deviceName\s*=\s*(.*)",
        printed_by("vulkaninfo", "--summary"),
    )
    return next((name.strip() for kind, name in devices if kind.endswith("GPU")), "")


def find_nvcc() -> Path | None:
    """CUDA's compiler: CUDACXX, on the PATH, in CUDA_HOME or CUDA_PATH, in /usr/local/cuda*."""
    named = [os.environ.get("CUDACXX", ""), shutil.which("nvcc") or ""]
    name = "nvcc.exe" if os.name == "nt" else "nvcc"
    folders = [os.environ.get(variable, "") for variable in ("CUDA_HOME", "CUDA_PATH")]
    candidates = [Path(path) for path in named if path]
    candidates += [Path(folder) / "bin" / name for folder in folders if folder]
    candidates += [folder / "bin" / name for folder in _cuda_folders()]
    return next((path for path in candidates if path.is_file()), None)


def _cuda_folders() -> Iterator[Path]:
    """/usr/local/cuda, then the versioned ones beside it, newest first."""
    local = SYSTEM / "usr/local"

    def version(folder: Path) -> list[int]:
        return [int(number) for number in re.findall(r"\d+", folder.name)]

    yield local / "cuda"
    yield from sorted(local.glob("cuda-*"), key=version, reverse=True)
    yield SYSTEM / "opt/cuda"


def _looked_in() -> str:
    return "CUDA_HOME, CUDA_PATH, /usr/local/cuda*, /opt/cuda"


def missing_for_vulkan() -> list[str]:
    """What llama.cpp's Vulkan build needs and does not find, as subjects of '... not found'.

    Source: ggml/src/ggml-vulkan/CMakeLists.txt, its find_package calls.
    """
    prefixes = [SYSTEM / "usr", SYSTEM / "usr/local"]
    if sdk := os.environ.get("VULKAN_SDK"):
        prefixes.insert(0, Path(sdk))
    needed = {
        "the Vulkan headers are": ("include/vulkan/vulkan.h", "Include/vulkan/vulkan.h"),
        "the SPIR-V headers are": (
            "share/cmake/SPIRV-Headers/SPIRV-HeadersConfig.cmake",
            "lib*/cmake/SPIRV-Headers/SPIRV-HeadersConfig.cmake",
            "lib/*/cmake/SPIRV-Headers/SPIRV-HeadersConfig.cmake",
        ),
    }
    missing = [] if shutil.which("glslc") else ["the shader compiler glslc is"]
    for what, patterns in needed.items():
        if not any(any(prefix.glob(pattern)) for prefix in prefixes for pattern in patterns):
            missing.append(what)
    return missing


def missing_tools() -> list[str]:
    """What is missing of cmake, compiler and venv, each a key of MISSING."""
    compilers = [os.environ.get("CXX", "").split(" ")[0], "c++", "g++", "clang++", "cl"]
    has_compiler = any(compiler and shutil.which(compiler) for compiler in compilers)
    if platform.system() == "Darwin" and has_compiler:
        # Without the developer tools, c++ is there and only offers to install them.
        has_compiler = bool(printed_by("xcode-select", "-p") or os.environ.get("CXX"))
    if platform.system() == "Windows" and not has_compiler:
        has_compiler = _has_visual_studio()
    has_venv = all(importlib.util.find_spec(module) for module in ("venv", "ensurepip"))
    there = {"cmake": shutil.which("cmake"), "compiler": has_compiler, "venv": has_venv}
    return [tool for tool, found in there.items() if not found]


def _has_visual_studio() -> bool:
    """Visual Studio's compiler is not on the PATH; CMake finds it by vswhere, and so do we."""
    programs = os.environ.get("PROGRAMFILES(X86)", r"C:\Program Files (x86)")
    vswhere = Path(programs) / "Microsoft Visual Studio" / "Installer" / "vswhere.exe"
    tools = "Microsoft.VisualStudio.Component.VC.Tools.x86.x64"
    command = ("-latest", "-products", "*", "-requires", tools, "-property", "installationPath")
    return bool(printed_by(str(vswhere), *command))


def how_to_get(*tools: str) -> str:
    """The commands that install these keys of PACKAGES here, as 'Run: ...'; else advice."""
    manager = package_manager()
    commands = []
    if "compiler" in tools and platform.system() in OWN_COMPILER:
        commands.append(OWN_COMPILER[platform.system()])
    packages = PACKAGES.get(manager or "", {})
    if names := [packages[tool] for tool in tools if tool in packages]:
        commands.append(f"{_as_root(manager)}{INSTALL[manager]} {' '.join(names)}")
    if not commands:
        return "Install it with your system's package manager."
    return "Run: " + " && ".join(commands)


def _as_root(manager: str) -> str:
    needs_root = manager not in ("brew", "winget") and os.geteuid() != 0
    return "sudo " if needs_root else ""


def package_manager() -> str | None:
    """The package manager of this system, a key of PACKAGES."""
    by_system = {"Darwin": ("brew",), "Windows": ("winget",)}
    others = ("apt", "dnf", "pacman", "zypper", "apk")
    candidates = by_system.get(platform.system(), others)
    return next((manager for manager in candidates if shutil.which(manager)), None)


def printed_by(*command: str) -> str:
    """What a command prints; empty where it is missing, fails or takes longer than 30 seconds."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
