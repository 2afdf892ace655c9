"""How commands end that were typed wrongly, or given up."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from localserve.cli import OUTPUT_FAILED
from localserve.cli import app as commands
from tests.cli.conftest import Run


@pytest.mark.parametrize(
    "typed",
    [
        "up --port 99999",
        "up --port abc",
        "up --ctx 3",
        "up --parallel 0",
        "up --gpu-layers -1",
        "up --tls-cert cert.pem",
        "load x --ctx 0",
        "load x --cache-type-k q9",
        "fit --ctx 0",
        "fit --ram 7",
        "connect nosuch",
        "keys create ''",
        "keys create x --expires yesterday",
        "nosuch",
        "list --nosuch",
    ],
)
def test_what_cannot_be_meant_ends_with_2(run: Run, typed: str) -> None:
    ran = run(*(word.strip("'") for word in typed.split()))
    assert ran.status == 2
    assert ran.err
    assert "Traceback" not in ran.err


def test_what_a_variable_says_is_no_wrong_usage(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCALSERVE_PORT", "99999")
    ran = run("status")
    assert ran.status == 1
    assert "LOCALSERVE_PORT" in ran.err


def test_ctrl_c_while_a_command_is_imported_says_nothing(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(**options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(commands, "app", interrupted)
    ran = run("list")
    assert (ran.status, ran.out, ran.err) == (130, "", "")


@pytest.mark.parametrize("group", ["cache", "keys", "service"])
def test_groups_offer_no_completion_of_their_own(run: Run, group: str) -> None:
    assert "completion" not in run(group, "--help").out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize(
    "typed", ["--help", "paths", "paths --json", "list --all", "fit --offline"]
)
def test_output_that_cannot_be_written_has_a_status_of_its_own(typed: str, tmp_path: Path) -> None:
    environ = os.environ | {"LOCALSERVE_HOME": str(tmp_path)}
    with open("/dev/full", "w") as full:
        ran = subprocess.run(
            [sys.executable, "-m", "localserve", *typed.split()],
            env=environ,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert ran.returncode == OUTPUT_FAILED
    assert ran.stderr.splitlines()[-1] == (
        "error The output cannot be written: No space left on device."
    )
    assert "Traceback" not in ran.stderr
