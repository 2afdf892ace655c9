"""`localserve up` around its server: what it says where something is amiss."""

from __future__ import annotations

from typing import Any

import pytest

from localserve.cli import up
from localserve.config import Settings
from tests.cli.conftest import Run


class NoServing:
    """A supervisor that has nothing to do."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        pass

    def run(self) -> int:
        return 0


@pytest.fixture(autouse=True)
def nothing_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "Supervisor", NoServing)


@pytest.mark.parametrize("as_json", [False, True])
def test_a_data_folder_that_cannot_be_written_is_told_with_the_reason_and_what_it_costs(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    if as_json:
        monkeypatch.setenv("LOCALSERVE_LOG_FORMAT", "json")
    settings.data_dir.parent.mkdir(parents=True, exist_ok=True)
    settings.data_dir.write_text("a file")
    ran = run("up", "tiny", "--port", "0")
    assert ran.status == 0
    said = ran.out if as_json else ran.err
    for path in ("servers", "logs"):
        (line,) = [one for one in said.splitlines() if str(settings.data_dir / path) in one]
        assert "cannot be written: " in line
        assert "LOCALSERVE_DATA_DIR" in line
    assert "do not find this one" in said
    assert "Nothing is logged" in said


def test_a_server_that_is_found_and_logged_warns_of_nothing(run: Run, settings: Settings) -> None:
    assert run("up", "tiny", "--port", "0").err == ""
