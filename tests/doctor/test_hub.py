"""The hub: asked, refusing, unreachable, or left alone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from localserve.doctor import hub
from localserve.doctor.finding import Finding
from localserve.doctor.hub import check_hub
from localserve.doctor.subject import Subject


@dataclass
class Hub:
    """A hub that answers every question with `status`; `asked` are the credentials that came."""

    url: str = ""
    status: int = 200
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def fake() -> Iterator[Hub]:
    found = Hub()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.asked.append(self.headers.get("authorization"))
            self.send_response(found.status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def found(subject: Subject, url: str, *, offline: bool = False) -> Finding:
    settings = replace(subject.settings, hub_endpoint=url)
    (one,) = check_hub(replace(subject, settings=settings, offline=offline))
    return one


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(hub, "token_header", dict)


def test_a_hub_that_answers_is_good(subject: Subject, fake: Hub) -> None:
    one = found(subject, fake.url)
    assert (one.level, fake.asked) == ("ok", [None])


def test_offline_nobody_is_asked(subject: Subject, fake: Hub) -> None:
    one = found(subject, fake.url, offline=True)
    assert (one.level, fake.asked) == ("ok", [])


def test_a_token_that_is_refused_is_a_problem_and_not_shown(
    subject: Subject, fake: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "token_header", lambda: {"Authorization": "Bearer hf_secret"})
    fake.status = 401
    one = found(subject, fake.url)
    assert (one.level, fake.asked) == ("problem", ["Bearer hf_secret"])
    assert "HF_TOKEN" in (one.advice or "")
    assert "hf_secret" not in str(one)


def test_a_token_that_is_none_is_a_problem_and_not_shown(
    subject: Subject, fake: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "token_header", lambda: {"Authorization": "Bearer hf_sécrét–"})
    one = found(subject, fake.url)
    assert (one.level, fake.asked) == ("problem", [])
    assert "hf_s" not in str(one)


@pytest.mark.parametrize("status", [403, 404, 500, 503])
def test_a_hub_in_trouble_is_a_warning(subject: Subject, fake: Hub, status: int) -> None:
    fake.status = status
    one = found(subject, fake.url)
    assert (one.level, str(status) in one.message) == ("warning", True)


def test_a_hub_that_is_not_there_is_a_warning(subject: Subject) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    one = found(subject, f"http://127.0.0.1:{port}")
    assert (one.level, "cannot be reached" in one.message) == ("warning", True)


@pytest.mark.parametrize("url", ["huggingface.co", "ftp://hub", "http://10.0.0.1", "https://"])
def test_an_address_that_is_none_is_told(subject: Subject, url: str) -> None:
    assert found(subject, url, offline=True).level == "ok"
    if url != "http://10.0.0.1":  # a hub of one's own may be plain http
        assert found(subject, url).level == "problem"
