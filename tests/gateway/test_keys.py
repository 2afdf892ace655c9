"""Secrets, names and times."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.errors import InvalidRequest
from localserve.gateway.expiry import duration_seconds, expiry_seconds
from localserve.gateway.keys import (
    IssuedKey,
    Key,
    check_name,
    digest_of,
    handle_of,
    key_document,
    new_secret,
)
from tests.gateway.conftest import UNHURRIED

NOW = 1_800_000_000.0


def a_key() -> tuple[str, Key]:
    secret, stored = new_secret()
    return secret, Key("id", "laptop", "inference", (), NOW, NOW + 60, None, (stored,))


def test_a_secret_is_known_by_its_handle_and_its_hash_alone() -> None:
    secret, stored = new_secret()
    other, _ = new_secret()
    assert secret != other
    assert len(secret) == 55
    assert handle_of(secret.encode()) == stored.handle
    assert stored.digest == digest_of(secret.encode()) != digest_of(other.encode())


@UNHURRIED
@given(st.binary(max_size=80))
def test_what_is_no_secret_has_no_handle(text: bytes) -> None:
    assert handle_of(text) is None


def test_neither_a_key_nor_its_document_shows_the_secret_or_its_hash() -> None:
    secret, key = a_key()
    shown = repr(key) + repr(IssuedKey(key, secret)) + repr(key_document(key, NOW))
    assert secret not in shown
    assert secret.split("-", 2)[2] not in shown
    assert repr(key.secrets[0].digest) not in shown


def test_a_key_is_active_until_it_expires_or_is_revoked() -> None:
    _, key = a_key()
    assert key.state(NOW) == "active"
    assert key.state(NOW + 60) == "expired"
    assert replace(key, revoked_at=NOW).state(NOW) == "revoked"


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "x" * 65, "a\n", "a/b", "ключ"])
def test_names_that_could_not_stand_in_a_log_or_a_path_are_refused(name: str) -> None:
    with pytest.raises(InvalidRequest):
        check_name(name)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("90s", 90), ("90m", 5400), ("12h", 43200), ("2w", 1_209_600)]
)
def test_durations(text: str, seconds: float) -> None:
    assert duration_seconds(text, "grace") == seconds


@pytest.mark.parametrize("text", ["", "h", "1", "-1h", "1.5h", "1h30m", "9999999d", "1 h", "١h"])
def test_what_is_no_duration_is_refused_by_its_field(text: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        duration_seconds(text, "grace")
    assert refused.value.param == "grace"


def test_an_expiry_is_a_duration_or_a_date() -> None:
    assert expiry_seconds("30d", NOW) == NOW + 30 * 86400
    assert expiry_seconds("2040-01-01T00:00:00Z", NOW) == 2_208_988_800
    assert expiry_seconds("2040-01-31", NOW) == datetime(2040, 1, 31).timestamp()


@pytest.mark.parametrize("text", ["0s", "2020-01-01", "tomorrow", "", "2040-13-01", "9999999d"])
def test_an_expiry_that_is_past_or_no_time_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest):
        expiry_seconds(text, NOW)
