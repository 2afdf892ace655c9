"""Where a package of the benchmarks is missing, the command that installs it is named."""

from __future__ import annotations

import subprocess
import sys

import pytest

GROUP = "pip install --group pyproject.toml:bench"


def _run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("package", ["gguf", "typer"])
def test_a_missing_package_is_named_without_a_traceback(package: str) -> None:
    done = _run(
        f"import sys; sys.modules[{package!r}] = None\n"
        "from benchmarks.__main__ import main; sys.exit(main())"
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: benchmarks need the package {package}.")
    assert GROUP in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_peer_is_named_before_anything_is_made_or_started() -> None:
    done = _run(
        "import typer, benchmarks.run as run\n"
        "run.find_spec = lambda name: None\n"
        "run._own_model = None\n"
        "typer.run(run.main)"
    )
    assert done.returncode == 1
    assert "need the package xllamacpp" in done.stderr
    assert GROUP in done.stderr
    assert "--no-xllamacpp" in done.stderr
