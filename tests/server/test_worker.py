"""The worker process where it needs no model: its start, and the end of its supervisor."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from localserve.config import read_settings
from localserve.server.process import WorkerArguments
from localserve.testing import fake_spec

ARGUMENTS = pickle.dumps(WorkerArguments(read_settings(environ={}), fake_spec(), ()))


@pytest.mark.parametrize("sent", [b"", ARGUMENTS[: len(ARGUMENTS) // 2]])
def test_a_supervisor_that_is_gone_before_it_said_all_ends_the_worker_quietly(sent: bytes) -> None:
    command = [sys.executable, "-m", "localserve.server.worker"]
    done = subprocess.run(command, input=sent, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0
    assert done.stdout == done.stderr == b""
