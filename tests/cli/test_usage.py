"""How commands end that were typed wrongly, or given up."""

from __future__ import annotations

import pytest

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
