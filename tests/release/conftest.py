"""Copies of the repository, and what is built from them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
EPOCH = 1_700_000_000
"""The SOURCE_DATE_EPOCH of these builds: a moment in seconds, 2023-11-14 22:13:20 UTC."""

NOT_COPIED = (".git", ".venv", "build", "dist", "__pycache__", ".*_cache", ".hypothesis")


@dataclass(frozen=True)
class Built:
    """What `python -m build` has made: a source distribution, and a wheel out of it."""

    sdist: Path
    wheel: Path


def copy_repository(to: Path) -> Path:
    """The repository as a checkout has it, less what git would ignore."""
    shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns(*NOT_COPIED))
    return to


def build(source: Path, *arguments: str) -> Path:
    """Run `python -m build` with this environment's hatchling, without the network.

    Returns: the folder with what was built.
    """
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", *arguments],
        cwd=source,
        env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)},
        check=True,
        capture_output=True,
        timeout=120,
    )
    return source / "dist"


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """Built from a checkout in which tests, linters and benchmarks have left their files."""
    source = copy_repository(tmp_path_factory.mktemp("built") / "source")
    for left_behind in (
        "tests/engine/__pycache__/test_tree.cpython-311.pyc",
        "localserve/__pycache__/chat.cpython-311.pyc",
        "localserve/engine/.pytest_cache/README.md",
        ".hypothesis/examples/1",
        "benchmarks/.mypy_cache/3.11/cache.json",
        "build/benchmarks/results.json",
        "dist/localserve-0.0.1.tar.gz",
    ):
        path = source / left_behind
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("left behind")
    folder = build(source, "--outdir", str(source / "out")).parent / "out"
    return Built(sdist=next(folder.glob("*.tar.gz")), wheel=next(folder.glob("*.whl")))
