"""The ports: free, held by others, or served already."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import replace

import pytest

from localserve.doctor import ports
from localserve.doctor.finding import Finding
from localserve.doctor.ports import check_ports
from localserve.doctor.subject import Subject
from localserve.server.running import announced


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that this process has."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        yield held.getsockname()[1]


def found(subject: Subject, **changes: object) -> list[Finding]:
    settings = replace(subject.settings, **changes)  # type: ignore[arg-type]
    return list(check_ports(replace(subject, settings=settings)))


def test_a_port_that_is_taken_is_a_problem_with_who_has_it(subject: Subject, taken: int) -> None:
    first = found(subject, port=taken)[0]
    assert first.level == "problem"
    assert f"Port {taken} is in use" in first.message
    assert "--port" in (first.advice or "")


def test_more_ports_are_looked_at_too(subject: Subject, taken: int) -> None:
    lines = found(subject, also_ports=str(taken))
    assert [one.level for one in lines[:2]] == ["ok", "problem"]


def test_a_wrong_list_of_ports_is_a_problem(subject: Subject) -> None:
    assert found(subject, also_ports="many")[0].level == "problem"


def test_our_own_server_is_no_fault(subject: Subject, taken: int) -> None:
    url = f"http://127.0.0.1:{taken}"
    with announced(subject.settings, url, taken, "tiny", "key"):
        first = found(subject, port=taken)[0]
    assert first.level == "ok"
    assert url in first.message


def test_ollama_at_its_own_port_is_no_fault(
    subject: Subject, taken: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "OLLAMA_PORT", taken)
    last = found(subject)[-1]
    assert (last.level, "is in use" in last.message) == ("ok", True)
