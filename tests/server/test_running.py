"""Servers are found by their files, as long as their processes live."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from localserve.config import Settings, read_settings
from localserve.server.running import announced, running_servers


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environ={"LOCALSERVE_HOME": str(tmp_path)})


def file_of(settings: Settings, port: int) -> Path:
    return settings.data_dir / "servers" / f"{port}.json"


def test_a_server_is_found_as_long_as_it_lasts(settings: Settings) -> None:
    assert running_servers(settings) == ()
    with (
        announced(settings, "http://x:2", 2, "two", "key"),
        announced(settings, "http://x:1", 1, "one", "key"),
    ):
        found = running_servers(settings)
        assert [(one.port, one.model, one.url) for one in found] == [
            (1, "one", "http://x:1"),
            (2, "two", "http://x:2"),
        ]
    assert running_servers(settings) == ()
    assert not file_of(settings, 1).exists()


def test_a_file_whose_process_is_gone_counts_for_nothing(settings: Settings) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with announced(settings, "http://x:1", 1, "one", "key"):
        document = json.loads(file_of(settings, 1).read_text())
        file_of(settings, 2).write_text(json.dumps(document | {"pid": gone.pid, "port": 2}))
        assert [one.port for one in running_servers(settings)] == [1]


def test_another_process_with_the_same_number_is_not_taken_for_the_server(
    settings: Settings,
) -> None:
    with announced(settings, "http://x:1", 1, "one", "key"):
        (server,) = running_servers(settings)
        assert server.alive
        assert not replace(server, process_began=server.process_began - 3600).alive


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"pid": 1}', "\x00", '{"pid": "x"}'])
def test_a_damaged_file_is_passed_over(settings: Settings, content: str) -> None:
    with announced(settings, "http://x:1", 1, "one", "key"):
        file_of(settings, 2).write_text(content)
        assert [one.port for one in running_servers(settings)] == [1]


def test_a_folder_that_cannot_be_written_to_stops_no_server(settings: Settings) -> None:
    settings.data_dir.parent.mkdir(parents=True, exist_ok=True)
    settings.data_dir.write_text("a file")
    with announced(settings, "http://x:1", 1, "one", "key") as problem:
        assert isinstance(problem, OSError)
        assert running_servers(settings) == ()


def test_a_server_that_is_found_has_no_problem_with_that(settings: Settings) -> None:
    with announced(settings, "http://x:1", 1, "one", "key") as problem:
        assert problem is None


def test_a_later_server_at_the_port_keeps_its_file(settings: Settings) -> None:
    with announced(settings, "http://x:1", 1, "one", "key"):
        document = json.loads(file_of(settings, 1).read_text())
        file_of(settings, 1).write_text(json.dumps(document | {"pid": 1}))
    assert file_of(settings, 1).exists()
