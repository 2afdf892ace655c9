"""The blocks of README and docs that can be run here are run, against one real server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.documentation.blocks import Block, blocks, is_run, shows
from tests.e2e.conftest import Server, serve_with

pytestmark = pytest.mark.e2e

ADDRESS = "http://127.0.0.1:8080"
ROUTES = next(block for block in blocks() if "[routes.auto]" in block.text)
"""The route that pages speak of."""

WITHOUT_SERVER = {"docs/keys.md"}
"""Pages in whose home folder no server runs: after their keys it would ask for one."""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "config").mkdir()
    (folder / "config" / "models.toml").write_text(ROUTES.text)
    programs = folder / "bin"
    programs.mkdir()
    command = programs / "localserve"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m localserve "$@"\n')
    command.chmod(0o755)
    return folder


@pytest.fixture(scope="module")
def documented(home: Path) -> Iterator[Server]:
    with serve_with(home) as server:
        yield server


@pytest.mark.parametrize("block", [block for block in blocks() if is_run(block)], ids=str)
def test_a_block_does_and_shows_what_the_page_says(
    block: Block, documented: Server, home: Path, tmp_path: Path
) -> None:
    alone = block.file in WITHOUT_SERVER
    program = (
        ["bash", "-euo", "pipefail", "-c"] if block.language == "bash" else [sys.executable, "-c"]
    )
    done = subprocess.run(
        [*program, block.text.replace(ADDRESS, documented.url)],
        env={
            **os.environ,
            "PATH": f"{home / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(tmp_path),
            "LOCALSERVE_HOME": str(tmp_path if alone else home),
            "COLUMNS": "200",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    printed = done.stdout.replace(documented.url, ADDRESS)
    assert block.output is None or shows(block.output, printed), printed
