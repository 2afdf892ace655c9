"""`localserve run` on a terminal and in a pipe, on the built-in model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import WAIT_SECONDS, Start
from tests.e2e.terminal import Terminal

fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

pytestmark = pytest.mark.e2e

QUESTION = "What is the capital of France?"


def environment(home: Path) -> dict[str, str]:
    return {
        **os.environ,
        "LOCALSERVE_HOME": str(home),
        "LOCALSERVE_MODEL": "localserve-tiny",
        "TERM": "xterm",
        "COLUMNS": "120",
        "PROMPT_TOOLKIT_NO_CPR": "1",
    }


def _take_terminal() -> None:
    """Make stdin the terminal of the session, so that Ctrl-C is a signal."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Chat(Terminal):
    """`localserve run` on a terminal of its own."""

    def __init__(self, home: Path, *arguments: str) -> None:
        command = [sys.executable, "-m", "localserve", "run", *arguments]
        super().__init__(command, environment(home), preexec_fn=_take_terminal)


@pytest.fixture
def chat(tmp_path: Path) -> Iterator[Callable[..., Chat]]:
    chats: list[Chat] = []

    def begin(*arguments: str) -> Chat:
        chats.append(Chat(tmp_path, *arguments))
        return chats[-1]

    yield begin
    for one in chats:
        one.kill()


def servers_of(home: Path) -> list[psutil.Process]:
    """The processes of servers of that home."""
    found = []
    for path in (home / "data" / "servers").glob("*.json"):
        pid = json.loads(path.read_text())["pid"]
        if psutil.pid_exists(pid):
            found.append(psutil.Process(pid))
    return found


def test_a_conversation(start: Start, chat: Callable[..., Chat], tmp_path: Path) -> None:
    server = start()
    assert server.url
    talk = chat("localserve-tiny")
    talk.wait_for(">>>")
    talk.type(f"{QUESTION}\r")
    talk.wait_for("Paris")
    talk.wait_for(r"\d+ tokens.*prompt of")
    talk.type("/stats\r")
    talk.wait_for(r"1 turn\b")
    talk.wait_for(r"context +\d+ of \d+ tokens")
    talk.type("/nothing\r")
    talk.wait_for("There is no command /nothing")
    talk.type("/clear\r")
    talk.wait_for("Forgotten")
    talk.type("/stats\r")
    talk.wait_for("0 turns")
    talk.type("/help\r")
    talk.wait_for("Ctrl-C stops an answer")
    talk.type("\x03")  # Ctrl-C at the prompt
    talk.wait_for("Ctrl-D ends", times=2)
    talk.type("\x04")
    assert talk.wait() == 0
    assert server.stop() == 0


def test_ctrl_c_stops_the_answer_and_not_the_program(
    start: Start, chat: Callable[..., Chat], tiny_f16: Path
) -> None:
    server = start(str(tiny_f16))
    assert server.url
    talk = chat()
    talk.wait_for(">>>")
    talk.type("Never end.\r")
    server.wait_until(lambda: server.engine()["running"] == 1)
    talk.type("\x03")
    talk.wait_for("stopped")
    server.wait_until(lambda: server.engine()["running"] == 0)
    talk.type("/stats\r")
    talk.wait_for(r"\d turn")
    talk.type("/exit\r")
    assert talk.wait() == 0


def test_a_server_is_started_for_one_answer_and_ends_with_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "localserve", "run", "--json"],
        input=QUESTION,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["model"] == "localserve-tiny"
    assert "Paris" in document["answer"]
    assert servers_of(tmp_path) == []
    assert list((tmp_path / "data" / "logs").iterdir()) == []


def test_a_server_that_was_started_ends_when_its_user_is_killed(
    chat: Callable[..., Chat], tmp_path: Path
) -> None:
    talk = chat("localserve-tiny")
    talk.wait_for(">>>")
    (server,) = servers_of(tmp_path)
    talk.process.kill()
    server.wait(WAIT_SECONDS)
    assert servers_of(tmp_path) == []


def test_a_model_that_is_not_there_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "localserve", "run", "no-such-model", "Hello"],
        stdin=subprocess.DEVNULL,
        env={**environment(tmp_path), "LOCALSERVE_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "no-such-model" in done.stderr
    assert servers_of(tmp_path) == []


def test_ctrl_c_ends_a_single_answer_with_status_130(
    start: Start, tmp_path: Path, tiny_f16: Path
) -> None:
    server = start(str(tiny_f16))
    assert server.url
    asking = subprocess.Popen(
        [sys.executable, "-m", "localserve", "run", tiny_f16.stem, "Never end."],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(tmp_path),
        text=True,
    )
    server.wait_until(lambda: server.engine()["running"] == 1)
    asking.send_signal(signal.SIGINT)
    assert asking.wait(WAIT_SECONDS) == 130
    assert asking.stderr is not None
    assert "stopped" in asking.stderr.read()
    asking.stderr.close()
    server.wait_until(lambda: server.engine()["running"] == 0)


def test_a_server_that_cannot_begin_is_told_in_its_words(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF but not really")
    done = subprocess.run(
        [sys.executable, "-m", "localserve", "run"],
        input=QUESTION,
        env={**environment(tmp_path), "LOCALSERVE_MODEL": str(damaged)},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "ended before it answered" in done.stderr
    assert "damaged.gguf" in done.stderr
