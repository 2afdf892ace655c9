"""What happens when a worker dies, when the user stops it, and when it cannot start."""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai
import psutil
import pytest

from tests.e2e.conftest import WAIT_SECONDS, Server, Start

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent.parent


def start_faulty(start: Start, fault: Path, **environ: str) -> Server:
    """A server with a faulty worker, see there."""
    return start(
        program=[sys.executable, "-m", "tests.e2e.faulty_up", "up", "--port", "0"],
        environ={"FAULT_FILE": str(fault), "PYTHONPATH": str(ROOT), **environ},
    )


@pytest.fixture
def faulty(start: Start, tmp_path: Path) -> tuple[Server, Path]:
    fault = tmp_path / "fault"
    server = start_faulty(start, fault)
    assert server.url
    return server, fault


LONG_DRAIN = {"LOCALSERVE_DRAIN_SECONDS": "120"}


def limited_stream(server: Server, tokens: int = 200) -> Any:
    """An answer of so many tokens, after its first event."""
    stream = server.client().completions.create(
        model="localserve-tiny",
        prompt="once",
        max_tokens=tokens,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    next(iter(stream))
    return stream


def endless_stream(server: Server) -> Any:
    """An answer that does not end by itself, after its first event."""
    return limited_stream(server, 8000)


def refused(url: str) -> bool:
    """Whether a new connection is refused at once, on every address."""
    parts = urlsplit(url)
    try:
        socket.create_connection((parts.hostname, parts.port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


def answers(server: Server) -> bool:
    answer = server.client().completions.create(
        model="localserve-tiny", prompt="once", max_tokens=1
    )
    return bool(answer.choices)


def read_until_cut(lines: Iterator[str], server: Server, seen: list[str]) -> None:
    """Kill the worker after a few lines, and go on reading."""
    for line in lines:
        seen.append(line)
        if len(seen) == 5:
            server.worker.send_signal(signal.SIGKILL)


def test_a_killed_worker_is_replaced_and_the_next_request_waits_for_it(start: Start) -> None:
    server = start()
    body = {"prompt": "once", "max_tokens": 8000, "stream": True, "ignore_eos": True}
    seen: list[str] = []
    url = server.url + "/v1/completions"
    with (
        httpx2.stream("POST", url, json=body, timeout=WAIT_SECONDS) as response,
        pytest.raises(httpx2.RemoteProtocolError),  # cut off, and not ended
    ):
        read_until_cut(response.iter_lines(), server, seen)
    assert "data: [DONE]" not in seen
    assert len(seen) < 1000, "the stream went on"
    assert answers(server)
    assert server.wait_for_line(r"was killed by SIGKILL")


def test_an_assertion_in_llama_cpp_tells_streams_and_log_before_it_kills(
    faulty: tuple[Server, Path],
) -> None:
    server, fault = faulty
    stream = endless_stream(server)
    fault.touch()
    with pytest.raises(openai.APIError, match=r"n_tokens_all <= cparams\.n_batch"):
        for _ in stream:
            pass
    assert server.wait_for_line(r"llama.cpp gave up: .*n_tokens_all <= cparams.n_batch")
    assert server.wait_for_line(r"The worker was killed by SIGABRT")
    assert answers(server)


def test_three_crashes_at_the_start_end_it_with_a_reason(start: Start, tmp_path: Path) -> None:
    server = start_faulty(start, tmp_path / "none", FAULT_AT_START="1")
    assert server.wait() == 1
    assert server.output.count("was killed by SIGABRT") == 3
    assert "three times" in server.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_that_gets_a_signal_itself_lets_its_answers_end_and_is_replaced(
    start: Start, number: signal.Signals
) -> None:
    server = start(environ=LONG_DRAIN)
    stream = limited_stream(server)
    server.worker.send_signal(number)
    assert [chunk.choices[0].finish_reason for chunk in stream][-1] == "length"
    assert server.wait_for_line("The worker ended with status 0")
    assert answers(server)
    assert server.stop() == 0
    assert "Traceback" not in server.output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopping_lets_running_answers_end(start: Start, number: signal.Signals) -> None:
    server = start(environ=LONG_DRAIN)
    stream = limited_stream(server)
    worker = server.worker
    server.process.send_signal(number)
    assert [chunk.choices[0].finish_reason for chunk in stream][-1] == "length"
    assert server.wait() == 0
    assert not worker.is_running()


def test_answers_that_outlast_the_drain_are_cancelled(start: Start) -> None:
    server = start(environ={"LOCALSERVE_DRAIN_SECONDS": "1"})
    stream = server.client().completions.create(
        model="localserve-tiny",
        prompt="once",
        max_tokens=8000,
        logprobs=5,  # slow enough not to end by itself
        stream=True,
        extra_body={"ignore_eos": True},
    )
    next(iter(stream))
    server.process.send_signal(signal.SIGINT)
    with pytest.raises((openai.APIError, httpx2.RemoteProtocolError)):
        for _ in stream:
            pass
    assert server.wait() == 0


def test_new_connections_are_refused_as_soon_as_it_is_told_to_stop(start: Start) -> None:
    server = start(environ=LONG_DRAIN)
    stream = endless_stream(server)
    server.process.send_signal(signal.SIGINT)
    server.wait_until(lambda: refused(server.url))
    assert next(iter(stream)).choices, "the stream was not running any more"
    server.process.send_signal(signal.SIGINT)
    assert server.wait() == 130


def test_a_worker_that_hangs_in_its_end_ends_itself_when_its_supervisor_is_gone(
    start: Start, tmp_path: Path
) -> None:
    options = {"FAULT_AT_END": "1", "LOCALSERVE_DRAIN_SECONDS": "1"}
    server = start_faulty(start, tmp_path / "none", **options)
    assert server.url
    worker = server.worker
    server.process.kill()
    _, alive = psutil.wait_procs([worker], timeout=WAIT_SECONDS)
    assert not alive


def test_work_in_a_thread_that_nobody_waits_for_does_not_hold_up_the_end(
    start: Start, tmp_path: Path
) -> None:
    options = {"FAULT_IN_THREAD": "1", "LOCALSERVE_DRAIN_SECONDS": "1"}
    server = start_faulty(start, tmp_path / "none", **options)
    parts = urlsplit(server.url)
    body = b'{"messages": [{"role": "user", "content": "Hello"}]}'
    head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
    head += f"content-length: {len(body)}\r\n\r\n"
    with socket.create_connection((parts.hostname, parts.port), WAIT_SECONDS) as client:
        client.sendall(head.encode() + body)
        assert server.wait_for_line("it is stuck")
        assert server.stop() == 0
        assert client.recv(100).startswith(b"HTTP/1.1 503 ")


def test_a_worker_whose_supervisor_is_gone_ends(start: Start) -> None:
    server = start()
    assert server.url
    worker = server.worker
    server.process.kill()
    psutil.wait_procs([worker], timeout=30)
    assert not worker.is_running()


def test_a_busy_port_is_named_with_its_holder_and_the_next_free_one(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        server = start(program=[sys.executable, "-m", "localserve", "up", "--port", str(port)])
        assert server.wait() == 1
    assert f"Port {port} is in use" in server.output
    assert f"(pid {os.getpid()})" in server.output
    assert "is free" in server.output


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no-such.gguf"),
        (b"", "no-such.gguf"),
        (b"noise" * 1000, "no-such.gguf"),
        (b"GGUF" + b"\xff" * 1000, "no-such.gguf"),
    ],
)
def test_an_unusable_file_ends_it_with_one_clear_error(
    start: Start, tmp_path: Path, content: bytes | None, said: str
) -> None:
    path = tmp_path / "no-such.gguf"
    if content is not None:
        path.write_bytes(content)
    server = start(str(path))
    assert server.wait() == 1
    assert said in server.output
    assert "Traceback" not in server.output


def test_a_reload_takes_over_aliases_and_keeps_the_old_ones_on_an_error(
    start: Start, tmp_path: Path
) -> None:
    models = tmp_path / "models.toml"
    path = ROOT / "localserve" / "catalog" / "builtin.gguf"
    models.write_text(f'[models.mine]\nfile = "{path}"\naliases = ["one"]\n')
    server = start("mine", "--config", str(models))
    assert server.client().models.retrieve("mine").id == "mine"
    models.write_text(f'[models.mine]\nfile = "{path}"\naliases = ["two"]\n')
    os.kill(server.process.pid, signal.SIGHUP)
    server.wait_until(lambda: server.get("/v1/models/two").status_code == 200)
    assert server.get("/v1/models/one").status_code == 404
    models.write_text('[models.mine]\nfil = "x"\n')
    refused = server.post("/admin/reload", {})
    assert refused.status_code == 400
    assert "line 2" in refused.json()["error"]["message"]
    assert server.get("/v1/models/two").status_code == 200
    server.worker.kill()
    assert server.wait_for_line("was killed by SIGKILL")
    assert server.get("/v1/models/two").status_code == 200
