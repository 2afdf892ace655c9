"""The servers that run."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from localserve.doctor.servers import check_servers
from localserve.doctor.subject import Subject
from localserve.server.running import announced


@pytest.fixture
def statuses() -> list[int]:
    return [200]


@pytest.fixture
def port(statuses: list[int]) -> Iterator[int]:
    """A server that answers with the last of `statuses`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(statuses[-1] if self.path == "/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def test_none_is_no_fault(subject: Subject) -> None:
    (one,) = check_servers(subject)
    assert one.level == "ok"


@pytest.mark.parametrize(("status", "level"), [(200, "ok"), (503, "warning")])
def test_a_server_is_asked_whether_it_is_ready(
    subject: Subject, port: int, statuses: list[int], status: int, level: str
) -> None:
    statuses.append(status)
    with announced(subject.settings, f"http://127.0.0.1:{port}", port, "tiny", "owner-secret"):
        (one,) = check_servers(subject)
    assert one.level == level
    assert "owner-secret" not in str(one)
    assert one.commands == (() if level == "ok" else (f"localserve logs --port {port}",))


def test_one_that_does_not_answer_is_a_problem(subject: Subject) -> None:
    with announced(subject.settings, "http://127.0.0.1:1", 1, "tiny", "key"):
        (one,) = check_servers(subject)
    assert one.level == "problem"


@pytest.mark.parametrize(("software", "lines"), [("localserve 0.0.1", 2), ("", 1)])
def test_one_that_was_started_from_another_version_is_told(
    subject: Subject, port: int, software: str, lines: int
) -> None:
    with announced(subject.settings, f"http://127.0.0.1:{port}", port, "tiny", "key"):
        path = subject.settings.data_dir / "servers" / f"{port}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"software": software}))
        found = list(check_servers(subject))
    assert len(found) == lines
    if software:
        assert found[1].level == "warning"
        assert "localserve 0.0.1" in found[1].message
        assert found[1].commands == (f"localserve stop --port {port}",)
