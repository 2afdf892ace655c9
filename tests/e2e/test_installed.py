"""A wheel built from the repository serves outside it, and the README's examples work."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.e2e.conftest import Server, Start
from tests.release.conftest import build, copy_repository
from tests.release.test_containers import health_command

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = copy_repository(tmp_path_factory.mktemp("wheel") / "source")
    return next(build(source, "--wheel").glob("localserve-*.whl"))


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


def test_the_health_check_of_the_images_needs_no_key(start: Start) -> None:
    server = start(environ={"LOCALSERVE_API_KEY": "0123456789abcdef"})
    assert server.get("/v1/models").status_code == 401
    done = subprocess.run(
        [sys.executable, *health_command("Dockerfile")[1:]],
        env={"LOCALSERVE_PORT": server.url.rpartition(":")[2]},
        capture_output=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def readme_block(language: str, containing: str) -> str:
    blocks: list[str] = re.findall(
        rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    return next(block for block in blocks if containing in block)


def test_the_readme_s_curl_command_is_answered(server: Server) -> None:
    command = readme_block("bash", "curl").replace("http://127.0.0.1:8080", server.url)
    done = subprocess.run(
        ["bash", "-c", command], capture_output=True, text=True, check=True, timeout=60
    )
    assert "Paris" in done.stdout


def test_the_readme_s_sdk_example_prints_an_answer(server: Server) -> None:
    source = readme_block("python", "OpenAI").replace("http://127.0.0.1:8080", server.url)
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, check=True, timeout=60
    )
    assert "1, 2, 3, 4, 5" in done.stdout
