"""Which llama.cpp is installed, as the names of its files tell: nothing of it is loaded.

Its commit is not told: a package that is compiled from its published sources does not know it, and
takes that of whatever repository lies around the build.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Final

PACKAGE: Final = "llama-cpp-python"

SPELLED: Final = {"hip": "ROCm", "metal": "Metal", "vulkan": "Vulkan", "opencl": "OpenCL"}
"""Kinds of devices that people do not write in capitals. Source: the folders of ggml/src."""

_NUMBER = r"(\d+(?:\.\d+){2,3})"


@dataclass(frozen=True, slots=True)
class Build:
    """Versions of the package, and of llama.cpp and its tensor library within: these are None
    where the files have no versions in their names, as on Windows. `backends` is what it can
    compute with, the CPU last; empty where it is one library for all."""

    package: str
    llama_cpp: str | None
    ggml: str | None
    backends: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Such as 'llama.cpp 0.5.0 (ggml 0.25.3) of llama-cpp-python 0.3.36'."""
        package = f"{PACKAGE} {self.package}"
        if self.llama_cpp is None:
            return package
        ggml = f" (ggml {self.ggml})" if self.ggml else ""
        return f"llama.cpp {self.llama_cpp}{ggml} of {package}"


def installed_build() -> Build | None:
    """The build of this environment; None if there is none."""
    try:
        found = distribution(PACKAGE)
    except PackageNotFoundError:
        return None
    folder = Path(str(found.locate_file("llama_cpp/lib")))
    try:
        names = [path.name for path in folder.iterdir()]
    except OSError:
        names = []
    return describe(found.version, names)


def describe(package: str, names: Iterable[str]) -> Build:
    """A build whose libraries have these file names."""
    names = sorted(names)
    return Build(
        package, _version_of("llama", names), _version_of("ggml-base", names), _backends(names)
    )


def _backends(names: Sequence[str]) -> tuple[str, ...]:
    """A library for each kind of device; for processors there may be several, such as
    libggml-cpu-haswell.so."""
    found = {match[1] for name in names if (match := re.match(r"(?:lib)?ggml-([a-z]+)", name))}
    spelled = [SPELLED.get(name, name.upper()) for name in found - {"base"}]
    return tuple(sorted(spelled, key=lambda name: (name == "CPU", name)))


def _version_of(library: str, names: Sequence[str]) -> str | None:
    """Linux has libllama.so.0.5.0, macOS libllama.0.5.0.dylib."""
    shape = re.compile(rf"lib{library}(?:\.so\.{_NUMBER}|\.{_NUMBER}\.dylib)")
    matches = (shape.fullmatch(name) for name in names)
    return next((match[1] or match[2] for match in matches if match), None)
