"""`localserve cache`, over a server that answers from a table."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from localserve.config import Settings
from tests.cli.conftest import Run
from tests.cli.fake_server import FakeServer, announced_fake

STATS: dict[str, Any] = {
    "enabled": True,
    "hits": 30,
    "misses": 10,
    "bypasses": 5,
    "saved_tokens": 12_345,
    "memory": {"entries": 7, "bytes": 2048, "evictions": 1},
    "store": {"kind": "disk", "works": True, "entries": 9, "bytes": 4096, "evictions": 2},
}


@pytest.fixture
def fake(settings: Settings) -> Iterator[FakeServer]:
    with announced_fake(settings, STATS) as server:
        yield server


def test_stats_tell_what_was_saved(run: Run, fake: FakeServer) -> None:
    ran = run("cache", "stats")
    assert ran.status == 0
    for text in ("hits: 30 (75%), 12,345 tokens", "misses: 10", "disk: 9 answers", "2 evicted"):
        assert text in ran.out
    assert fake.requests == [("/admin/cache", None)]
    assert json.loads(run("cache", "stats", "--json").out) == STATS


def test_stats_of_a_store_that_fails_or_does_not_tell(run: Run, fake: FakeServer) -> None:
    store = {"kind": "redis", "works": False, "entries": None, "bytes": None, "evictions": None}
    fake.document = STATS | {"store": store}
    out = run("cache", "stats").out
    assert "redis: does not tell what it holds (fails: see localserve logs)" in out


def test_stats_say_how_to_switch_it_on(run: Run, fake: FakeServer) -> None:
    fake.document = {"enabled": False}
    ran = run("cache", "stats")
    assert ran.status == 0
    assert "LOCALSERVE_RESPONSE_CACHE=1" in ran.out


def test_purge_forgets_all_or_a_model(run: Run, fake: FakeServer) -> None:
    fake.document = {"purged": 1, "model": None}
    assert "1 kept answer forgotten" in run("cache", "purge").out
    fake.document = {"purged": 1200, "model": "m"}
    assert "1,200 kept answers of m forgotten" in run("cache", "purge", "--model", "m").out
    assert json.loads(run("cache", "purge", "--json").out) == fake.document
    assert fake.requests == [("/admin/cache/purge", {"model": name}) for name in (None, "m", None)]


def test_a_purge_that_fails_says_why(run: Run, fake: FakeServer) -> None:
    fake.status, fake.document = 503, {"detail": "The kept answers could not be forgotten."}
    ran = run("cache", "purge")
    assert ran.status == 1
    assert "could not be forgotten" in ran.err


def test_without_a_server_there_is_nothing_to_ask(run: Run) -> None:
    for command in ("stats", "purge"):
        ran = run("cache", command)
        assert ran.status == 1
        assert "No server is running" in ran.err
