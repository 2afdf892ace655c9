"""The API against its own description: requests made up by schemathesis, answers held to it.

`LOCALSERVE_SCHEMATHESIS_EXAMPLES=200` makes up so many for each operation, and those at the bounds
of every field; by default it is a short run. `-s` shows its figures.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from localserve.testing import FakeBackend
from tests.e2e import made_up
from tests.server.conftest import Serve, serve

__all__ = ["serve"]

pytestmark = pytest.mark.e2e

EXAMPLES = os.environ.get("LOCALSERVE_SCHEMATHESIS_EXAMPLES", "")
SHORT_EXAMPLES = "2"
LIMIT_SECONDS = 7200 if EXAMPLES else 240

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)

LEFT_OUT = ("--exclude-path-regex", "^/(props|slots/.*|admin/activity/events)$")
"""Answered with 501, as llama-server's clients know it; and what is answered without end."""

NO_KEYS = ("--exclude-operation-id", "post_admin_keys")
"""The first key that is made would close the server to whoever has none."""

KEY = "a-key-with-all-the-rights"

ANSWERED = 40
"""Of the operations, so many at least are answered as they should be and not only refused."""


async def try_out(port: int, folder: Path, *options: str) -> str:
    """What schemathesis says of the server at `port`. Fails where it finds something wrong."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run"),
        f"http://127.0.0.1:{port}/openapi.json",
        *("--checks", ",".join(CHECKS)),
        *("--phases", "examples,coverage,fuzzing" if EXAMPLES else "examples,fuzzing"),
        *("--max-examples", EXAMPLES or SHORT_EXAMPLES),
        *("--request-timeout", "30"),
        "--generation-deterministic",
        "--no-color",
        *LEFT_OUT,
        *options,
    ]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
        cwd=folder,
        env={**os.environ, "SCHEMATHESIS_HOOKS": made_up.__name__, "PYTHONPATH": os.getcwd()},
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    print(done.stdout[done.stdout.index("= SUMMARY =") :])
    return done.stdout


def operations_refused(said: str) -> int:
    """How many got nothing but 401 and 403."""
    found = re.search(r"Authentication failed: (\d+) operations?", said)
    return int(found[1]) if found else 0


@pytest.mark.parametrize("key", [None, KEY], ids=["no keys", "a key"])
async def test_answers_are_as_described_and_nothing_fails(
    key: str | None, serve: Serve, tmp_path: Path
) -> None:
    options = ("--header", f"Authorization: Bearer {key}") if key else NO_KEYS
    backend = FakeBackend("Paris it is.", name=made_up.MODEL)
    async with serve(backend, data_dir=tmp_path, api_key=key) as served:
        said = await try_out(served.port, tmp_path, *options)
        answered = {
            (record.method, record.route)
            for record in served.records
            if record.status is not None and record.status < 300
        }
    assert operations_refused(said) == 0
    assert len(answered) >= ANSWERED


async def test_who_has_no_key_is_refused_as_described(serve: Serve, tmp_path: Path) -> None:
    async with serve(data_dir=tmp_path, api_key=KEY) as served:
        said = await try_out(served.port, tmp_path, "--phases", "examples")
        assert {record.status for record in served.records if "/admin/" in record.path} == {401}
    assert operations_refused(said) > ANSWERED / 2
