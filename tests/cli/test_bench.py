"""`localserve bench` against the app over a fake backend, served over TCP."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from localserve.config import Settings
from localserve.errors import Overloaded
from localserve.loadtest.step import run_step
from localserve.server.app import create_app
from localserve.server.running import announced
from localserve.server.web import WebServer
from localserve.testing import FakeBackend, fake_manager
from tests.cli.conftest import Run

OWNER = "ls-owner"
QUICK = ("bench", "--users", "1,2", "--seconds", "0.1")


@contextmanager
def served(settings: Settings, backend: FakeBackend, *, key: str | None = None) -> Iterator[str]:
    """The address of a server that lives in a thread."""
    live = threading.Event()
    settings = replace(settings, api_key=key)
    app = create_app(fake_manager(backend), settings, owner_key=OWNER)
    server = WebServer(app, settings, live.set)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    assert live.wait(20)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.stop()
        thread.join()


@pytest.fixture
def backend() -> FakeBackend:
    return FakeBackend("one two three four five", token_delay_seconds=0.002)


@pytest.fixture
def found(settings: Settings, backend: FakeBackend) -> Iterator[str]:
    """A server that commands find; it wants a key."""
    with served(settings, backend, key="ls-wanted") as url:
        port = int(url.rpartition(":")[2])
        with announced(settings, url, port, "fake", OWNER):
            yield url


def test_the_running_server_is_measured_step_by_step(run: Run, found: str) -> None:
    ran = run(*QUICK)
    assert (ran.status, ran.err) == (0, "")
    head, one, two, *rest = ran.out.splitlines()
    assert head.split()[:3] == ["users", "requests", "errors"]
    assert (one.split()[0], two.split()[0]) == ("1", "2")
    assert one.split()[2] == two.split()[2] == "0"
    assert "p50/p95/p99" in rest[0]
    assert "saturated" in rest[1]


def test_an_slo_that_holds_ends_with_0(run: Run, found: str) -> None:
    # A busy machine may answer nothing within a tenth of a second.
    ran = run(*QUICK[:-1], "1", "--slo", "p95_ttft=60,error_rate=0,tokens_per_second=1")
    assert ran.status == 0
    assert "p95_ttft ≤ 60: held, at worst" in ran.out
    assert "error_rate ≤ 0: held, at worst 0" in ran.out
    assert "all objectives hold with up to 2 users" in ran.out


def test_an_slo_that_is_broken_ends_with_1(run: Run, found: str) -> None:
    ran = run(*QUICK, "--slo", "p99_total=0.000001,error_rate=0")
    assert ran.status == 1
    assert "p99_total ≤ 1e-06: broken with 1 user" in ran.out
    assert "error_rate ≤ 0: held" in ran.out
    assert "all objectives" not in ran.out


def test_json_tells_all_of_it(run: Run, found: str) -> None:
    ran = run(*QUICK, "--json", "--slo", "p95_itl=60,tokens_per_second=1e9", "--model", "fake")
    document = json.loads(ran.out)
    assert ran.status == 1
    steps = document.pop("steps")
    slo = document.pop("slo")
    assert document.pop("saturation_users") in (None, 1)
    assert document == {
        "url": found,
        "model": "fake",
        "prompt_words": 100,
        "max_tokens": 64,
        "step_seconds": 0.1,
    }
    assert [step["users"] for step in steps] == [1, 2]
    assert set(steps[0]) == {
        "users",
        "requests",
        "error_rate",
        "errors",
        "ttft_seconds",
        "itl_seconds",
        "total_seconds",
        "tokens_per_second",
    }
    assert set(steps[0]["ttft_seconds"]) == {"p50", "p95", "p99"}
    assert (slo["held"], slo["held_up_to_users"]) == (False, None)
    held, broken = slo["objectives"]
    assert (held["name"], held["bound"], held["held"]) == ("p95_itl", 60.0, True)
    assert (broken["name"], broken["held"]) == ("tokens_per_second", False)
    assert broken["measured"] == [step["tokens_per_second"] for step in steps]


def test_requests_that_fail_are_told_by_reason(
    run: Run, settings: Settings, backend: FakeBackend, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail_from_now_on(client: object) -> None:
        backend.failure = Overloaded("Too many wait.")

    monkeypatch.setattr("localserve.cli.bench.warm_up", fail_from_now_on)
    ran = run(*QUICK, "--slo", "error_rate=0.5,p50_ttft=9")
    assert ran.status == 1
    assert "× 503 overloaded" in ran.out
    assert "p50_ttft ≤ 9: broken with 1 user: nothing was answered" in ran.out
    assert "100.0%" in ran.out


def test_another_server_is_measured_by_its_address_with_the_key_of_the_environment(
    run: Run, settings: Settings, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(settings, backend, key="ls-theirs") as url:
        refused = run(*QUICK, "--url", url)
        monkeypatch.setenv("LOCALSERVE_API_KEY", "ls-theirs")
        answered = run(*QUICK, "--url", f"{url}/v1")
    assert (refused.status, refused.out) == (2, "")
    assert "key" in refused.err
    assert answered.status == 0


def test_what_cannot_be_measured_ends_with_2(run: Run, settings: Settings) -> None:
    nobody = run(*QUICK)
    assert (nobody.status, nobody.out) == (2, "")
    assert "`localserve up` starts one" in nobody.err
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    gone = run(*QUICK, "--url", f"http://127.0.0.1:{port}")
    assert gone.status == 2
    assert "The server does not answer" in gone.err


def test_an_unknown_model_ends_with_2_and_the_servers_words(run: Run, found: str) -> None:
    ran = run(*QUICK, "--model", "nothing")
    assert (ran.status, ran.out) == (2, "")
    assert "'nothing'" in ran.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--slo", "p95_tftt=1"), "Did you mean p95_ttft?"),
        (("--users", "4,2"), "no steps of users"),
        (("--url", "nowhere"), "no address"),
        (("--url", "http://127.0.0.1:1", "--port", "2"), "two servers"),
        (("--seconds", "0"), "--seconds"),
        (("--seconds", "nan"), "--seconds"),
        (("--max-tokens", "1"), "--max-tokens"),
    ],
)
def test_wrong_usage_ends_with_2_before_anything_is_asked(
    run: Run, settings: Settings, arguments: tuple[str, ...], words: str
) -> None:
    ran = run("bench", *arguments)
    assert (ran.status, ran.out) == (2, "")
    assert words in ran.err


def test_ctrl_c_tells_what_was_measured(
    run: Run, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(client: object, users: int, *more: object) -> object:
        if users == 2:
            raise KeyboardInterrupt
        return await run_step(client, users, *more)  # type: ignore[arg-type]

    monkeypatch.setattr("localserve.cli.bench.run_step", interrupted)
    ran = run(*QUICK, "--json")
    assert ran.status == 130
    assert [one["users"] for one in json.loads(ran.out)["steps"]] == [1]
    assert "stopped" in ran.err


def test_help_has_examples_and_exit_statuses(run: Run, settings: Settings) -> None:
    ran = run("bench", "--help")
    assert "localserve bench --slo p95_ttft=0.5,error_rate=0.01" in ran.out
    assert "Exit status" in ran.out
