"""Commands for the running server: how it is found, what they print, how they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localserve.cli.log_file import LogFile
from localserve.cli.logs import read_log
from localserve.config import Settings, read_settings
from localserve.server.running import log_path
from tests.cli.conftest import Run
from tests.cli.fake_server import FakeServer, announced_fake

MODEL: dict[str, Any] = {
    "id": "chat",
    "state": "loaded",
    "progress": None,
    "pinned": True,
    "context_tokens": 4096,
    "context_reduced_from_tokens": 8192,
    "memory_bytes": {"CPU": 3 << 30, "CUDA0": 1 << 30},
    "draft": None,
    "draft_bytes": 0,
    "running": 2,
    "waiting": 1,
    "tokens_per_second": 12.34,
    "idle_since": None,
}
LIST = {
    "default": "chat",
    "models": [MODEL],
    "memory": [{"device": "CPU", "held_bytes": 3 << 30, "capacity_bytes": 8 << 30}],
}


@pytest.fixture
def fake(settings: Settings) -> Iterator[FakeServer]:
    """A server that this process says it is."""
    with announced_fake(settings, LIST) as server:
        yield server


def test_without_a_server_the_commands_say_so_and_fail(run: Run) -> None:
    for command in (["ps"], ["load", "x"], ["unload", "x"], ["stop"]):
        ran = run(*command)
        assert ran.status == 1
        assert "No server is running" in ran.err
        assert "localserve up" in ran.err
    assert run("status").status == 1
    assert json.loads(run("status", "--json").out) == {"servers": []}


def test_ps_shows_what_each_model_takes_and_does(run: Run, fake: FakeServer) -> None:
    ran = run("ps")
    assert ran.status == 0
    for text in ("chat", "pinned", "8192", "3.0 GiB", "1.0 GiB CUDA0", "4096", "12.3", "8.0 GiB"):
        assert text in ran.out
    assert json.loads(run("ps", "--json").out) == {"url": fake.url, **LIST}


def test_ps_says_how_much_of_a_model_s_memory_its_draft_holds(run: Run, fake: FakeServer) -> None:
    assert "draft" not in run("ps").out
    fake.document = {**LIST, "models": [{**MODEL, "draft": "small", "draft_bytes": 512 << 20}]}  # type: ignore[misc]
    assert "(draft 512 MiB)" in run("ps").out


def test_ps_says_whose_memory_a_gpu_without_its_own_takes(run: Run, fake: FakeServer) -> None:
    gpu = {"device": "MTL0", "held_bytes": 2 << 30, "capacity_bytes": 6 << 30, "part_of": "CPU"}
    fake.document = {**LIST, "memory": [*LIST["memory"], gpu]}  # type: ignore[misc]
    lines = run("ps").out.splitlines()
    assert [line for line in lines if "part of RAM" in line] == [
        "MTL0: 2.0 GiB held of 6.0 GiB that models may take, part of RAM"
    ]


def test_status_tells_where_it_is_and_whether_it_answers(run: Run, fake: FakeServer) -> None:
    ran = run("status")
    assert ran.status == 0
    assert fake.url in ran.out
    assert "chat (loaded)" in ran.out
    fake.document = "not what a server says"
    ran = run("status", "--json")
    (server,) = json.loads(ran.out)["servers"]
    assert (ran.status, server["answers"], server["port"]) == (1, False, fake.port)
    assert "no localserve" in server["problem"]


def test_load_says_what_was_loaded_and_what_had_to_be_smaller(run: Run, fake: FakeServer) -> None:
    fake.document = MODEL
    ran = run("load", "org/chat", "--pin")
    assert ran.status == 0
    assert "4096 tokens" in ran.out
    assert "8192" in ran.out
    paths = [path for path, _ in fake.requests]
    assert paths == ["/admin/models/org/chat/load", "/admin/models/org/chat/pin"]


def test_load_sends_the_options_that_were_given_and_checks_them_first(
    run: Run, fake: FakeServer
) -> None:
    fake.document = MODEL
    options = ("--ctx", "4096", "--parallel", "2", "--cache-type-k", "q8_0", "--gpu-layers", "0")
    assert run("load", "chat", *options).status == 0
    (request,) = fake.requests
    wanted = {"context_tokens": 4096, "parallel": 2, "cache_type_k": "q8_0", "gpu_layers": 0}
    assert request == ("/admin/models/chat/load", wanted)
    refused = run("load", "chat", "--ctx", "8")
    assert (refused.status, len(fake.requests)) == (2, 1)
    assert "--ctx is 8" in refused.err
    assert "64" in refused.err


def test_unload_by_force_says_so_to_the_server(run: Run, fake: FakeServer) -> None:
    fake.document = MODEL | {"state": "unloaded"}
    assert run("unload", "chat", "--force").out == "chat is not loaded\n"
    assert fake.requests == [("/admin/models/chat/unload", {"force": True})]


def test_an_error_of_the_server_is_told_in_its_words(run: Run, fake: FakeServer) -> None:
    fake.status, fake.document = 409, {"detail": "'chat' is in use: 3 requests."}
    ran = run("unload", "chat")
    assert ran.status == 1
    assert "3 requests" in ran.err


def test_another_port_is_refused_with_those_that_there_are(run: Run, fake: FakeServer) -> None:
    ran = run("ps", "--port", "1")
    assert ran.status == 1
    assert str(fake.port) in ran.err


def test_logs_shows_the_last_lines_of_the_newest_log(run: Run, settings: Settings) -> None:
    assert run("logs").status == 1
    log = LogFile(log_path(settings, 8080), settings, dated=True)
    log.write("first\nsecond\nthi")
    log.write("rd\nunfinished")
    log.close()
    lines = run("logs", "-n", "2").out.splitlines()
    assert [line.split()[-1] for line in lines] == ["second", "third"]


def test_following_goes_on_behind_a_change_of_files(tmp_path: Path) -> None:
    path = tmp_path / "server.log"
    path.write_text("one\ntwo\n")
    turns = 0

    def go_on() -> bool:
        nonlocal turns
        turns += 1
        if turns == 1:
            with path.open("a") as stream:
                stream.write("three\nfo")
        if turns == 3:
            with path.open("a") as stream:
                stream.write("ur\n")
        if turns == 5:
            path.rename(tmp_path / "server.log.1")
            path.write_text("five\n")
        return turns < 12

    assert list(read_log(path, 1, go_on)) == ["two", "three", "four", "five"]


def test_a_log_does_not_grow_for_ever_and_is_shown_whole(run: Run, settings: Settings) -> None:
    small = replace(settings, log_file_bytes=2_000)
    log = LogFile(log_path(small, 8080), small, dated=True)
    for number in range(200):
        log.write(f"line {number}\n")
    log.close()
    files = list(log_path(small, 8080).parent.iterdir())
    assert len(files) > 3
    assert all(file.stat().st_size <= 2_000 for file in files)
    lines = run("logs", "-n", "150").out.splitlines()
    assert [line.split()[-1] for line in lines] == [str(number) for number in range(50, 200)]


def test_a_log_that_cannot_be_written_harms_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "logs").write_text("a file")
    settings = read_settings(environ={"LOCALSERVE_HOME": str(tmp_path)})
    log = LogFile(tmp_path / "logs" / "server.log", settings, dated=True)
    log.write("line\n")
    log.flush()
    log.close()
    assert capsys.readouterr().err == ""
