"""Whose a request is: by a fake clock, over a real file."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from localserve.errors import KeyInvalid, KeyMissing, StoreFailed
from localserve.gateway.caller import ANYONE
from localserve.gateway.keyring import (
    ENVIRONMENT_NAME,
    FRESH_SECONDS,
    OWNER_NAME,
    FixedKeys,
    Keyring,
)
from localserve.gateway.store import KeyStore

NOW = 1_800_000_000.0


class Clock:
    """A clock for people (`time`) and one that only goes forward."""

    def __init__(self) -> None:
        self.time = NOW
        self.monotonic = 0.0

    def advance(self, seconds: float) -> None:
        self.time += seconds
        self.monotonic += seconds


class Rig:
    """A keyring over a store of its own."""

    def __init__(self, folder: Path, fixed: FixedKeys | None = None, *, loopback: bool = True):
        self.clock = Clock()
        self.store = KeyStore(folder / "keys.sqlite")
        self.ring = Keyring(
            self.store,
            fixed or FixedKeys(),
            open_without_keys=loopback,
            clock=lambda: self.clock.time,
            monotonic=lambda: self.clock.monotonic,
        )

    async def who(self, *secrets: str) -> str:
        """The name of the caller, or the code of the refusal."""
        try:
            return (await self.ring.identify([one.encode() for one in secrets])).name
        except (KeyMissing, KeyInvalid, StoreFailed) as error:
            return error.code


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


async def test_without_keys_this_machine_needs_none_and_any_placeholder_will_do(rig: Rig) -> None:
    assert await rig.ring.identify([]) is ANYONE
    assert await rig.who("dummy") == ""


async def test_without_keys_other_machines_are_let_in_by_nothing(tmp_path: Path) -> None:
    rig = Rig(tmp_path, loopback=False)
    assert await rig.who() == "missing_api_key"
    assert await rig.who("dummy") == "invalid_api_key"


async def test_a_key_made_meanwhile_counts_within_a_second_for_all(rig: Rig) -> None:
    assert await rig.who() == ""
    issued = rig.store.create("laptop", now=rig.clock.time)
    rig.clock.advance(FRESH_SECONDS)
    assert await rig.who() == "missing_api_key"
    assert await rig.who("dummy") == "invalid_api_key"
    assert await rig.who("dummy", issued.secret) == "laptop"


async def test_a_caller_is_what_its_key_may(rig: Rig) -> None:
    first = rig.store.create("laptop", now=NOW, models=["Small"])
    second = rig.store.create("boss", now=NOW, scope="admin")
    laptop = await rig.ring.identify([first.secret.encode()])
    boss = await rig.ring.identify([second.secret.encode()])
    assert (laptop.is_admin, boss.is_admin) == (False, True)
    assert laptop.may_use(["other", "small"])
    assert not laptop.may_use(["large"])
    assert boss.may_use(["large"])
    assert laptop.prefix_scope == first.key.id != boss.prefix_scope


async def test_an_expired_key_says_so_and_does_not_open_the_server(rig: Rig) -> None:
    issued = rig.store.create("laptop", now=NOW, expires_at=NOW + 60)
    assert await rig.who(issued.secret) == "laptop"
    rig.clock.advance(60)
    assert await rig.who() == "missing_api_key"
    with pytest.raises(KeyInvalid, match="'laptop' expired at 2027"):
        await rig.ring.identify([issued.secret.encode()])


async def test_the_old_secret_is_good_for_the_grace_time(rig: Rig) -> None:
    old = rig.store.create("laptop", now=NOW).secret
    before = await rig.ring.identify([old.encode()])
    new = rig.store.rotate("laptop", now=NOW, grace_seconds=100).secret
    rig.clock.advance(99)
    assert await rig.ring.identify([new.encode()]) == before
    assert await rig.who(old) == "laptop"
    rig.clock.advance(1)
    assert await rig.who(new) == "laptop"
    with pytest.raises(KeyInvalid, match="was rotated"):
        await rig.ring.identify([old.encode()])


async def test_a_revoked_key_ends_within_a_second_and_the_last_one_opens_this_machine(
    rig: Rig,
) -> None:
    first = rig.store.create("first", now=NOW).secret
    second = rig.store.create("second", now=NOW).secret
    assert await rig.who(first) == "first"
    rig.store.revoke("first", now=NOW)
    rig.clock.advance(FRESH_SECONDS)
    with pytest.raises(KeyInvalid, match="'first' was revoked"):
        await rig.ring.identify([first.encode()])
    assert await rig.who(second) == "second"
    rig.store.revoke("second", now=NOW)
    rig.ring.look_again()
    assert await rig.who() == ""


async def test_a_key_of_the_environment_is_needed_and_may_all(tmp_path: Path) -> None:
    rig = Rig(tmp_path, FixedKeys(environment="from-the-container", owner="of-this-run"))
    assert await rig.who() == "missing_api_key"
    assert await rig.who("from-the-container") == ENVIRONMENT_NAME
    assert (await rig.ring.identify([b"of-this-run"])).is_admin


async def test_the_owners_key_makes_no_key_needed(tmp_path: Path) -> None:
    rig = Rig(tmp_path, FixedKeys(owner="of-this-run"))
    assert await rig.who("of-this-run") == OWNER_NAME
    assert await rig.who() == ""
    assert "of-this-run" not in repr(FixedKeys(owner="of-this-run"))


async def test_a_secret_with_a_known_handle_and_another_rest_is_wrong(rig: Rig) -> None:
    secret = rig.store.create("laptop", now=NOW).secret
    wrong = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    assert await rig.who(wrong) == "invalid_api_key"
    assert await rig.who(secret + "x") == "invalid_api_key"
    assert await rig.who(secret.upper()) == "invalid_api_key"


async def test_a_store_that_vanishes_or_breaks_lets_nobody_in_and_nobody_out(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    secret = rig.store.create("laptop", now=NOW).secret
    assert await rig.who(secret) == "laptop"
    content = rig.store.path.read_bytes()
    for broken in (None, b"no database" * 100):
        rig.store.path.unlink(missing_ok=True)
        if broken:
            rig.store.path.write_bytes(broken)
        for _ in range(3):
            rig.clock.advance(FRESH_SECONDS)
            assert await rig.who(secret) == "laptop"
            assert await rig.who() == "missing_api_key"
    assert len(caplog.records) == 1, "one line, not one for each request"
    assert secret not in caplog.text
    rig.store.path.write_bytes(content)
    second = rig.store.create("second", now=NOW).secret
    rig.clock.advance(FRESH_SECONDS)
    assert [await rig.who(one) for one in (secret, second)] == ["laptop", "second"]


async def test_a_store_that_is_broken_from_the_start_lets_nobody_in(rig: Rig) -> None:
    rig.store.path.write_bytes(b"no database" * 100)
    assert await rig.who() == "store_failed"
    rig.store.path.unlink()
    assert await rig.who() == ""


async def test_the_clock_of_the_wall_may_jump(rig: Rig) -> None:
    rig.store.create("laptop", now=NOW)
    assert await rig.who() == "missing_api_key"
    issued = rig.store.create("second", now=NOW)
    rig.clock.time -= 86_400
    rig.clock.monotonic += FRESH_SECONDS
    assert await rig.who(issued.secret) == "second"


async def test_requests_at_once_read_the_file_once(rig: Rig) -> None:
    reads = 0
    read = rig.store.read

    def count() -> tuple[object, ...]:
        nonlocal reads
        reads += 1
        return read()

    rig.store.read = count  # type: ignore[assignment,method-assign]
    await asyncio.gather(*(rig.who("wrong") for _ in range(50)))
    await rig.who("wrong")
    assert reads == 1
