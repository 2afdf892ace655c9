"""The file of the keys: what it keeps, and what becomes of it when the disk or another fails."""

from __future__ import annotations

import sqlite3
import stat
import sys
import threading
from pathlib import Path

import pytest

from localserve.chat import Priority
from localserve.errors import InvalidRequest, KeyExists, StoreFailed, UnknownKey
from localserve.gateway.keys import digest_of
from localserve.gateway.store import KeyStore

NOW = 1_800_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "data" / "keys.sqlite")


def test_without_a_file_there_are_no_keys_and_looking_makes_none(store: KeyStore) -> None:
    assert store.read() == ()
    assert not store.exists()


def test_a_key_is_kept_with_all_it_may_do_and_without_its_secret(store: KeyStore) -> None:
    issued = store.create("ci", now=NOW, scope="admin", models=["a", "b"], expires_at=NOW + 9)
    (key,) = store.read()
    assert key == issued.key
    assert (key.name, key.scope, key.models) == ("ci", "admin", ("a", "b"))
    assert (key.created_at, key.expires_at, key.revoked_at) == (NOW, NOW + 9, None)
    assert key.secrets[0].digest == digest_of(issued.secret.encode())
    content = store.path.read_bytes()
    assert issued.secret.encode() not in content
    assert issued.secret.split("-", 2)[2].encode() not in content


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_nobody_else_may_read_the_file(store: KeyStore) -> None:
    store.create("ci", now=NOW)
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600


def test_a_name_is_taken_until_its_key_is_revoked(store: KeyStore) -> None:
    first = store.create("ci", now=NOW).key
    with pytest.raises(KeyExists, match="rotate ci"):
        store.create("ci", now=NOW)
    assert store.revoke("ci", now=NOW + 1).revoked_at == NOW + 1
    second = store.create("ci", now=NOW + 2).key
    assert [key.id for key in store.read()] == [first.id, second.id]


def test_a_rotation_keeps_the_key_and_gives_the_old_secret_a_grace_time(store: KeyStore) -> None:
    first = store.create("ci", now=NOW)
    second = store.rotate("ci", now=NOW + 10, grace_seconds=100)
    third = store.rotate("ci", now=NOW + 20, grace_seconds=500)
    (key,) = store.read()
    assert key.id == first.key.id == third.key.id
    assert len({first.secret, second.secret, third.secret}) == 3
    assert [one.valid_until for one in key.secrets] == [None, NOW + 520, NOW + 110]


@pytest.mark.parametrize("change", ["rotate", "revoke"])
def test_a_key_that_is_not_there_is_named_with_the_nearest(store: KeyStore, change: str) -> None:
    store.create("laptop", now=NOW)
    arguments = {"now": NOW} | ({"grace_seconds": 0.0} if change == "rotate" else {})
    with pytest.raises(UnknownKey, match="Did you mean 'laptop'"):
        getattr(store, change)("laptp", **arguments)


def test_a_wrong_name_makes_no_file(store: KeyStore) -> None:
    with pytest.raises(InvalidRequest):
        store.create("a b", now=NOW)
    assert not store.exists()


def test_what_is_no_database_is_refused_and_left_alone(store: KeyStore) -> None:
    store.path.parent.mkdir()
    store.path.write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreFailed, match=r"keys\.sqlite"):
        store.read()
    with pytest.raises(StoreFailed):
        store.create("ci", now=NOW)
    assert store.path.read_bytes() == b"this is no database" * 100


def test_the_file_of_a_newer_version_is_refused(store: KeyStore) -> None:
    store.create("ci", now=NOW)
    with sqlite3.connect(store.path) as file:
        file.execute("PRAGMA user_version = 99")
    file.close()
    with pytest.raises(StoreFailed, match="newer localserve"):
        store.read()


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(StoreFailed, match="data"):
        KeyStore(tmp_path / "data" / "keys.sqlite").create("ci", now=NOW)


def test_a_full_disk_changes_nothing(store: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store.create("first", now=NOW)
    size = store.path.stat().st_size
    connect = sqlite3.connect

    def connect_full(*arguments: object, **options: object) -> sqlite3.Connection:
        file = connect(*arguments, **options)  # type: ignore[call-overload]
        file.execute(f"PRAGMA max_page_count = {size // 4096}")
        return file  # type: ignore[no-any-return]

    monkeypatch.setattr("localserve.gateway.store.sqlite3.connect", connect_full)
    with pytest.raises(StoreFailed, match="full"):
        store.create("large", now=NOW, models=["x" * 10_000])
    monkeypatch.undo()
    assert [key.name for key in store.read()] == ["first"]
    assert store.create("after", now=NOW).key.name == "after"


def test_changes_at_once_are_all_kept(store: KeyStore) -> None:
    def create(number: int) -> None:
        store.create(f"key-{number}", now=NOW)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(key.name for key in store.read()) == [f"key-{number}" for number in range(6)]


def test_a_file_of_the_first_version_is_brought_up_to_date(store: KeyStore) -> None:
    secret = store.create("ci", now=NOW, models=["a"]).secret
    with sqlite3.connect(store.path) as file:
        file.execute("ALTER TABLE keys DROP COLUMN requests_per_minute")
        file.execute("ALTER TABLE keys DROP COLUMN tokens_per_minute")
        file.execute("ALTER TABLE keys DROP COLUMN priority")
        file.execute("PRAGMA user_version = 1")
    file.close()
    (key,) = store.read()
    assert (key.models, key.requests_per_minute) == (("a",), None)
    assert key.secrets[0].digest == digest_of(secret.encode())
    store.create("guest", now=NOW, requests_per_minute=3, tokens_per_minute=4)
    assert [(one.requests_per_minute, one.tokens_per_minute) for one in store.read()] == [
        (None, None),
        (3, 4),
    ]


def test_a_file_of_the_second_version_gets_priorities_and_keeps_its_keys(store: KeyStore) -> None:
    store.create("ci", now=NOW, requests_per_minute=3)
    with sqlite3.connect(store.path) as file:
        file.execute("ALTER TABLE keys DROP COLUMN priority")
        file.execute("PRAGMA user_version = 2")
    file.close()
    store.create("indexer", now=NOW, priority=Priority.BACKGROUND)
    assert [(one.requests_per_minute, one.priority) for one in store.read()] == [
        (3, None),
        (None, Priority.BACKGROUND),
    ]
