"""A wheel built from the repository serves outside it."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.e2e.conftest import Start

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*command, str(folder), str(ROOT)], check=True)
    return next(folder.glob("localserve-*.whl"))


def test_the_wheel_carries_the_catalog_and_the_built_in_model(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "localserve/catalog/models.toml" in names
    assert "localserve/catalog/builtin.gguf" in names
    assert "localserve/py.typed" in names
    assert not [name for name in names if name.startswith(("tests", "benchmarks"))]
    assert wheel.stat().st_size < 13e6


def test_the_wheel_serves_outside_the_repository(wheel: Path, start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(folder)
    server = start(environ={"PYTHONPATH": str(folder)})
    where = subprocess.run(
        [sys.executable, "-c", "import localserve; print(localserve.__file__)"],
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(folder))
    answer = server.post("/v1/completions", {"prompt": "once", "max_tokens": 2})
    assert answer.status_code == 200
