"""The file of the keys."""

from __future__ import annotations

import os
import time

import pytest

from localserve.doctor.keys import check_keys
from localserve.doctor.subject import Subject
from localserve.gateway.store import KeyStore, key_store


@pytest.fixture
def store(subject: Subject) -> KeyStore:
    return key_store(subject.settings)


def test_no_keys_are_needed(subject: Subject) -> None:
    (one,) = check_keys(subject)
    assert one.level == "ok"


def test_good_keys_are_counted_and_not_shown(subject: Subject, store: KeyStore) -> None:
    secret = store.create("laptop", now=time.time()).secret
    store.create("old", now=time.time() - 60, expires_at=time.time() - 30)
    (one,) = check_keys(subject)
    assert (one.level, one.message) == ("ok", f"1 of 2 are good, in {store.path}")
    assert secret not in str(one)


def test_keys_that_are_all_over_let_nobody_in(subject: Subject, store: KeyStore) -> None:
    store.create("old", now=time.time() - 60, expires_at=time.time() - 30)
    (one,) = check_keys(subject)
    assert (one.level, one.commands) == ("warning", ("localserve keys create NAME",))


def test_a_file_that_is_no_database_is_a_problem(subject: Subject, store: KeyStore) -> None:
    store.path.parent.mkdir(parents=True)
    store.path.write_text("nonsense" * 200)
    (one,) = check_keys(subject)
    assert (one.level, str(store.path) in one.message) == ("problem", True)


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_a_file_that_others_may_read_is_a_warning(subject: Subject, store: KeyStore) -> None:
    store.create("laptop", now=time.time())
    store.path.chmod(0o644)
    _, others = check_keys(subject)
    assert (others.level, others.commands) == ("warning", (f"chmod 600 '{store.path}'",))
