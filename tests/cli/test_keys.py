"""`localserve keys`: what it prints, keeps and refuses."""

from __future__ import annotations

import json
import time

import pytest

from localserve.chat import Priority
from localserve.config import Settings
from localserve.gateway.keys import digest_of
from localserve.gateway.store import key_store
from tests.cli.conftest import Run


def test_a_key_is_printed_once_alone_on_stdout(run: Run, settings: Settings) -> None:
    made = run("keys", "create", "laptop", "--expires", "30d", "--models", "a, b", "--models", "c")
    secret = made.out.strip()
    assert made.status == 0
    assert "not shown again" in made.err
    (key,) = key_store(settings).read()
    assert key.secrets[0].digest == digest_of(secret.encode())
    assert key.models == ("a", "b", "c")
    assert key.expires_at == pytest.approx(time.time() + 30 * 86400, abs=60)
    listed = run("keys", "list")
    assert "laptop" in listed.out
    assert secret[:12] in listed.out
    for ran in (listed, run("keys", "list", "--json"), run("keys", "revoke", "laptop", "--json")):
        assert secret not in ran.out + ran.err


def test_a_rotation_says_until_when_the_old_key_is_good(run: Run, settings: Settings) -> None:
    first = run("keys", "create", "laptop").out
    rotated = run("keys", "rotate", "laptop", "--grace", "1h")
    assert rotated.out != first
    assert "stays valid until" in rotated.err
    assert "is not valid any more" in run("keys", "rotate", "laptop", "--grace", "0").err
    (key,) = key_store(settings).read()
    assert len(key.secrets) == 3


def test_the_end_of_the_last_key_is_told(run: Run) -> None:
    run("keys", "create", "first")
    run("keys", "create", "second")
    assert "No key is left" not in run("keys", "revoke", "first").out
    assert "need none now" in run("keys", "revoke", "second").out
    assert "There is no key" in run("keys", "list").out
    document = json.loads(run("keys", "list", "--all", "--json").out)
    assert [key["state"] for key in document["keys"]] == ["revoked", "revoked"]


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["create", "laptop"], 1, "rotate laptop"),
        (["create", "a b"], 2, "1 to 64 letters"),
        (["create", "x", "--scope", "root"], 2, "neither inference nor admin"),
        (["create", "x", "--expires", "soon"], 2, "30d"),
        (["rotate", "lapto"], 1, "Did you mean 'laptop'"),
        (["rotate", "laptop", "--grace", "1"], 2, "90m"),
        (["revoke", "nobody"], 1, "keys list"),
    ],
)
def test_mistakes_say_what_to_do_and_change_nothing(
    run: Run, settings: Settings, arguments: list[str], status: int, words: str
) -> None:
    run("keys", "create", "laptop")
    before = key_store(settings).read()
    ran = run("keys", *arguments)
    assert (ran.status, ran.out) == (status, "")
    assert words in " ".join(ran.err.split())
    assert key_store(settings).read() == before


def test_a_server_for_other_machines_is_refused_without_a_key(run: Run) -> None:
    ran = run("up", "--host", "0.0.0.0", "--port", "0")
    assert ran.status == 1
    assert "localserve keys create NAME" in ran.err


def test_a_key_may_have_limits_of_its_own(run: Run, settings: Settings) -> None:
    assert run("keys", "create", "guest", "--rpm", "20", "--tpm", "10000").status == 0
    (key,) = key_store(settings).read()
    assert (key.requests_per_minute, key.tokens_per_minute) == (20, 10000)
    assert "20 requests, 10,000 tokens" in run("keys", "list").out
    assert run("keys", "create", "x", "--rpm", "0").status == 2


def test_a_key_may_have_a_priority_of_its_own(run: Run, settings: Settings) -> None:
    assert run("keys", "create", "indexer", "--priority", "background").status == 0
    (key,) = key_store(settings).read()
    assert key.priority is Priority.BACKGROUND
    assert "background" in run("keys", "list").out
    (document,) = json.loads(run("keys", "list", "--json").out)["keys"]
    assert document["priority"] == "background"
    refused = run("keys", "create", "x", "--priority", "urgent")
    assert refused.status == 2
    assert "interactive, chat, background" in " ".join(refused.err.split())
