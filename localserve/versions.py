"""Which packages are installed, as their metadata tells: nothing is imported. Any thread."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

UNKNOWN: Final = "0"


def version_of(package: str) -> str:
    """An installed package's version; "0" where it has none, such as a folder that was copied."""
    try:
        return version(package)
    except PackageNotFoundError:
        return UNKNOWN


def software() -> str:
    """What a server of this environment consists of, for comparing: such as
    'localserve 0.1.0, llama-cpp-python 0.3.36'."""
    packages = ("localserve", "llama-cpp-python")
    return ", ".join(f"{package} {version_of(package)}" for package in packages)
