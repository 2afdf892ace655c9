"""A probe that asks at fixed times."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from benchmarks.responsiveness import PROBE_SECONDS, Probe, section

STALL_SECONDS = 0.3


@contextmanager
def health(status: int, *, stalls: bool = False) -> Iterator[str]:
    """A server whose first answer may be late."""
    late = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if stalls and not late.is_set():
                late.set()
                time.sleep(STALL_SECONDS)
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def run(url: str, answers: int) -> Probe:
    probe = Probe(url)
    thread = threading.Thread(target=probe.run)
    thread.start()
    deadline = time.monotonic() + 20
    while len(probe.milliseconds) < answers and thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    probe.stop()
    thread.join()
    return probe


def test_a_late_answer_makes_those_late_that_should_have_been_asked_for_meanwhile() -> None:
    with health(200, stalls=True) as url:
        probe = run(url, 4)
    assert probe.failure is None
    first, second, third = probe.milliseconds[:3]
    assert first >= STALL_SECONDS * 1e3
    for late, answer in ((first, second), (second, third)):
        assert answer > late - 2 * PROBE_SECONDS * 1e3


def test_an_answer_of_another_status_is_a_failure() -> None:
    with health(503) as url:
        probe = run(url, 4)
    assert "503" in str(probe.failure)
    assert probe.milliseconds == []


def test_both_lags_are_held_against_their_goals() -> None:
    probe = Probe("http://127.0.0.1:1", [1.0] * 98 + [60.0, 70.0])
    lag = {"samples": 100, "p50_ms": 0.5, "p99_ms": 19.0, "most_ms": 300.0}
    inside, outside = section(probe, lag, 30.0).rows
    assert inside[1:] == ("0.50", "19.00", "300.00", "< 20 met")
    assert outside[1:] == ("1.00", "60.00", "70.00", "< 50 missed")
