"""The API against its own description: requests made up by schemathesis, answers held to it.

`LOCALSERVE_SCHEMATHESIS_EXAMPLES=200` makes up so many for each operation, and those at the bounds
of every field; by default it is a short run.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.server.conftest import Serve, serve

__all__ = ["serve"]

pytestmark = pytest.mark.e2e

EXAMPLES = os.environ.get("LOCALSERVE_SCHEMATHESIS_EXAMPLES", "")
SHORT_EXAMPLES = "4"
LIMIT_SECONDS = 7200 if EXAMPLES else 240

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)

REFUSED = "^/(props|slots/.*)$"
"""Answered with 501, as llama-server's clients know it."""


async def test_answers_are_as_described_and_nothing_fails(serve: Serve, tmp_path: Path) -> None:
    pytest.importorskip("schemathesis")
    async with serve(data_dir=tmp_path) as served:
        command = [
            *(sys.executable, "-m", "schemathesis.cli", "run"),
            f"http://127.0.0.1:{served.port}/openapi.json",
            *("--checks", ",".join(CHECKS)),
            *("--phases", "examples,coverage,fuzzing" if EXAMPLES else "examples,fuzzing"),
            *("--max-examples", EXAMPLES or SHORT_EXAMPLES),
            *("--exclude-path-regex", REFUSED),
            *("--request-timeout", "30"),
            "--generation-deterministic",
            "--no-color",
        ]
        done = await asyncio.to_thread(
            subprocess.run,
            command,
            capture_output=True,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
            cwd=tmp_path,
        )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "passed" in done.stdout
