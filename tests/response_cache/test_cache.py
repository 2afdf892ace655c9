"""Answers kept, shared while they come, and forgotten; stores that fail."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.chat import Accepted, Completed, TextDelta, Timings, Usage
from localserve.errors import CacheFailed, EngineFailed
from localserve.response_cache import cache as cache_module
from localserve.response_cache.cache import Outcome, ResponseCache
from localserve.response_cache.memory import Entry, MemoryEntries
from localserve.response_cache.question import Key
from localserve.response_cache.redis_store import RedisStore
from localserve.response_cache.sqlite_store import SqliteStore
from localserve.response_cache.store import Store
from localserve.response_cache.value import Item, encode
from tests.redis_server import RedisServer, redis_server
from tests.response_cache.test_value import EVENTS
from tests.server.conftest import until

KEY = Key("m", "aa")
ANSWER: list[Item] = [
    Accepted("m", 3),
    TextDelta(0, "Pa"),
    TextDelta(0, "ris"),
    Completed(Usage(3, 2), Timings()),
]


class Model:
    """Computes answers, each when it is let. `computed` counts them, `closed` those cut off."""

    def __init__(self, answer: Sequence[Item] = ANSWER) -> None:
        self.answer = answer
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.failure: Exception | None = None
        self.computed = 0
        self.closed = 0

    async def __call__(self) -> AsyncGenerator[Item, None]:
        self.computed += 1
        done = False
        try:
            yield self.answer[0]
            await self.go_on.wait()
            if self.failure is not None:
                raise self.failure
            for item in self.answer[1:]:
                yield item
            done = True
        finally:
            self.closed += not done


class Asker:
    """Asks. `outcomes` is what it was told, `left` whose answer it took over."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.left: list[object] = []

    def told(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)

    def take_over(self, left: object) -> None:
        self.left.append(left)


async def week(items: Sequence[Item]) -> float | None:
    return time.time() + 604_800


async def ask(
    cache: ResponseCache,
    model: Model,
    key: Key = KEY,
    *,
    anew: bool = False,
    asker: Asker | None = None,
) -> tuple[Outcome, list[Item]]:
    asker = asker or Asker()
    items = [item async for item in cache.answer(key, model, week, asker, anew=anew)]
    await asyncio.gather(*cache._saving)
    (outcome,) = asker.outcomes
    return outcome, items


@asynccontextmanager
async def opened(store: Store, memory_bytes: int = 1 << 20) -> AsyncIterator[ResponseCache]:
    cache = ResponseCache(store, memory_bytes)
    try:
        yield cache
    finally:
        await cache.close()


def disk(folder: Path, most_bytes: int = 1 << 20) -> SqliteStore:
    return SqliteStore(folder / "responses.sqlite", most_bytes, 604_800)


@pytest.fixture
async def cache(tmp_path: Path) -> AsyncIterator[ResponseCache]:
    async with opened(disk(tmp_path)) as made:
        yield made


async def test_a_hit_is_event_for_event_the_miss(cache: ResponseCache) -> None:
    model = Model()
    assert await ask(cache, model) == ("miss", ANSWER)
    assert await ask(cache, model) == ("hit", ANSWER)
    assert model.computed == 1
    assert (cache.figures.hits, cache.figures.misses, cache.figures.saved_tokens) == (1, 1, 5)


class TableStore:
    """A store in a dictionary."""

    name = place = "table"

    def __init__(self) -> None:
        self.entries: dict[Key, Entry] = {}

    async def get(self, key: Key, now: float) -> Entry | None:
        return self.entries.get(key)

    async def put(self, key: Key, entry: Entry, now: float) -> None:
        self.entries[key] = entry

    async def purge(self, model: str | None) -> int:
        return len(self.entries)

    def figures(self) -> None:
        return None

    async def close(self) -> None:
        pass


@given(st.lists(EVENTS, min_size=1, max_size=5), st.integers(1, 3))
def test_whatever_was_answered_all_get_the_same_now_and_after_a_restart(
    answer: list[Item], askers: int
) -> None:
    async def story() -> list[tuple[Outcome, list[Item]]]:
        store, model = TableStore(), Model(answer)
        async with opened(store) as cache:
            answers = list(await asyncio.gather(*(ask(cache, model) for _ in range(askers))))
            answers.append(await ask(cache, model))
        async with opened(store) as cache:
            answers.append(await ask(cache, model))
        assert model.computed == 1
        return answers

    answers = asyncio.run(story())
    assert [outcome for outcome, _ in answers].count("miss") == 1
    assert {repr(items) for _, items in answers} == {repr(answer)}


async def test_answers_outlast_the_process(tmp_path: Path) -> None:
    async with opened(disk(tmp_path)) as cache:
        await ask(cache, Model())
    async with opened(disk(tmp_path)) as cache:
        assert await ask(cache, Model()) == ("hit", ANSWER)
    assert (tmp_path / "responses.sqlite").stat().st_mode & 0o077 == 0


async def test_identical_requests_at_once_are_computed_once(cache: ResponseCache) -> None:
    model = Model()
    model.go_on.clear()
    asking = [asyncio.create_task(ask(cache, model)) for _ in range(8)]
    await until(lambda: cache.figures.hits == 7)
    model.go_on.set()
    answers = await asyncio.gather(*asking)
    assert sorted(outcome for outcome, _ in answers) == ["hit"] * 7 + ["miss"]
    assert all(items == ANSWER for _, items in answers)
    assert model.computed == 1
    assert cache.figures.saved_tokens == 35


async def test_a_follower_gets_the_answer_as_it_comes(cache: ResponseCache) -> None:
    model = Model()
    model.go_on.clear()
    leader = asyncio.create_task(ask(cache, model))
    await until(lambda: model.computed == 1)
    async with aclosing(cache.answer(KEY, model, week, Asker())) as items:
        assert await anext(items) == ANSWER[0]
        model.go_on.set()
        assert [item async for item in items] == ANSWER[1:]
    await leader


async def test_the_leaders_departure_cancels_no_follower(cache: ResponseCache) -> None:
    model = Model()
    model.go_on.clear()
    leader = asyncio.create_task(ask(cache, model))
    await until(lambda: model.computed == 1)
    follower = asyncio.create_task(ask(cache, model))
    await until(lambda: cache.figures.hits == 1)
    leader.cancel()
    await asyncio.wait([leader])
    assert model.closed == 0
    model.go_on.set()
    assert await follower == ("hit", ANSWER)


async def test_an_answer_is_always_somebodys_who_is_still_there(cache: ResponseCache) -> None:
    model = Model()
    model.go_on.clear()
    askers = [Asker() for _ in range(4)]
    asking = [asyncio.create_task(ask(cache, model, asker=asker)) for asker in askers]
    await until(lambda: cache.figures.hits == 3)
    for leaving in (2, 0, 1):  # one of the others, the first, and who took over from that
        asking[leaving].cancel()
        await asyncio.wait([asking[leaving]])
    model.go_on.set()
    assert await asking[3] == ("hit", ANSWER)
    assert [asker.left for asker in askers] == [[], [askers[0]], [], [askers[1]]]
    assert cache.figures.saved_tokens == 0


async def test_an_answer_that_is_awaited_to_its_end_is_taken_over_by_nobody(
    cache: ResponseCache,
) -> None:
    for failure in (None, EngineFailed("x")):
        model, askers = Model(), [Asker(), Asker()]
        model.failure = failure
        model.go_on.clear()
        key = Key("m", str(failure))
        asking = [asyncio.create_task(ask(cache, model, key, asker=asker)) for asker in askers]
        await until(lambda asker=askers[1]: asker.outcomes == ["hit"])
        model.go_on.set()
        await asyncio.wait(asking)
        assert [asker.left for asker in askers] == [[], []]
    assert cache.figures.saved_tokens == 5


async def test_the_last_ones_departure_cancels_the_answer_which_is_not_kept(
    cache: ResponseCache,
) -> None:
    model = Model()
    model.go_on.clear()
    asking = [asyncio.create_task(ask(cache, model)) for _ in range(2)]
    await until(lambda: cache.figures.hits == 1)
    for task in asking:
        task.cancel()
    await asyncio.wait(asking)
    assert model.closed == 1
    model.go_on.set()
    assert await ask(cache, model) == ("miss", ANSWER)


async def test_a_failure_reaches_all_and_is_not_kept(cache: ResponseCache) -> None:
    model = Model()
    model.go_on.clear()
    model.failure = EngineFailed("x")
    asking = [asyncio.create_task(ask(cache, model)) for _ in range(2)]
    await until(lambda: cache.figures.hits == 1)
    model.go_on.set()
    failures = await asyncio.gather(*asking, return_exceptions=True)
    assert all(isinstance(failure, EngineFailed) for failure in failures)
    model.failure = None
    assert await ask(cache, model) == ("miss", ANSWER)


async def test_what_may_not_be_kept_is_computed_each_time(cache: ResponseCache) -> None:
    async def never(items: Sequence[Item]) -> float | None:
        return None

    model = Model()
    for _ in range(2):
        _ = [item async for item in cache.answer(KEY, model, never, Asker())]
        await asyncio.gather(*cache._saving)
    assert model.computed == 2


async def test_an_answer_wanted_anew_takes_the_kept_ones_place(cache: ResponseCache) -> None:
    await ask(cache, Model())
    other: list[Item] = [*ANSWER[:-1], Completed(Usage(3, 9), Timings())]
    assert await ask(cache, Model(other), anew=True) == ("miss", other)
    assert await ask(cache, Model()) == ("hit", other)


async def test_a_similar_questions_answer_serves_and_is_never_overwritten(
    cache: ResponseCache,
) -> None:
    other: list[Item] = [*ANSWER[:-1], Completed(Usage(3, 9), Timings())]
    asker = Asker()

    async def ask_like(key: Key, similar: Key) -> list[Item]:
        answer = cache.answer(key, Model(other), week, asker, similar=similar)
        items = [item async for item in answer]
        await asyncio.gather(*cache._saving)
        return items

    await ask(cache, Model())
    assert await ask_like(Key("m", "bb"), KEY) == ANSWER
    assert await ask_like(Key("m", "bb"), Key("m", "gone")) == other
    assert asker.outcomes == ["hit", "miss"]
    assert await ask(cache, Model(), Key("m", "gone")) == ("miss", ANSWER)
    assert await ask_like(Key("m", "bb"), KEY) == other


async def test_answers_end_by_their_time(tmp_path: Path) -> None:
    now = 1_000_000.0
    cache = ResponseCache(disk(tmp_path), 1 << 20, lambda: now)

    async def hour(items: Sequence[Item]) -> float | None:
        return now + 3600

    async def outcome() -> Outcome:
        asker = Asker()
        _ = [item async for item in cache.answer(KEY, Model(), hour, asker)]
        await asyncio.gather(*cache._saving)
        return asker.outcomes[0]

    assert [await outcome(), await outcome()] == ["miss", "hit"]
    now += 3601
    assert [await outcome(), await outcome()] == ["miss", "hit"]
    await cache.close()


async def test_purging_forgets_a_model_or_all(tmp_path: Path) -> None:
    async with opened(disk(tmp_path)) as cache:
        for name in ("m", "n"):
            await ask(cache, Model(), Key(name, name))
        assert await cache.purge("m") == 1
        assert (await ask(cache, Model(), Key("m", "m")))[0] == "miss"
        assert (await ask(cache, Model(), Key("n", "n")))[0] == "hit"
        assert await cache.purge(None) == 2
        assert (await ask(cache, Model(), Key("n", "n")))[0] == "miss"
    assert b"Pa" not in (tmp_path / "responses.sqlite").read_bytes()


async def test_an_answer_that_was_under_way_at_a_purge_is_not_kept(cache: ResponseCache) -> None:
    model = Model()
    model.go_on.clear()
    asking = asyncio.create_task(ask(cache, model))
    await until(lambda: model.computed == 1)
    await cache.purge(None)
    model.go_on.set()
    await asking
    assert (await ask(cache, model))[0] == "miss"


async def test_after_a_purge_nobody_joins_an_answer_that_was_begun_before(
    cache: ResponseCache,
) -> None:
    other = Key("n", "bb")
    old, new = Model(), Model([*ANSWER[:-1], Completed(Usage(3, 9), Timings())])
    old.go_on.clear()
    asking = [asyncio.create_task(ask(cache, old, key)) for key in (KEY, other)]
    await until(lambda: old.computed == 2)
    assert await cache.holds(KEY)
    await cache.purge("m")
    assert not await cache.holds(KEY)
    assert await ask(cache, new) == ("miss", new.answer)
    joining = asyncio.create_task(ask(cache, new, other))
    await until(lambda: cache.figures.hits == 1)
    old.go_on.set()
    assert await asyncio.gather(*asking) == [("miss", ANSWER)] * 2
    assert await joining == ("hit", ANSWER)
    assert await ask(cache, new) == ("hit", new.answer)


async def test_an_answer_that_was_looked_up_at_a_purge_is_not_found() -> None:
    class Slow(TableStore):
        looked, go_on = asyncio.Event(), asyncio.Event()

        async def get(self, key: Key, now: float) -> Entry | None:
            found = await super().get(key, now)
            self.looked.set()
            await self.go_on.wait()
            return found

        async def purge(self, model: str | None) -> int:
            self.entries.clear()
            return 1

    store = Slow()
    store.entries[KEY] = Entry(encode(ANSWER), time.time() + 100)
    async with opened(store) as cache:
        asking = asyncio.create_task(ask(cache, Model()))
        await store.looked.wait()
        assert await cache.purge(None) == 1
        store.go_on.set()
        assert await asking == ("miss", ANSWER)


def test_memory_keeps_the_latest_used_within_its_bound() -> None:
    memory = MemoryEntries(30)
    for digest in "abc":
        memory.put(Key("m", digest), bytes(10), 1.0)
    assert memory.get(Key("m", "a"), 0.0) is not None
    memory.put(Key("m", "d"), bytes(10), 1.0)
    assert memory.get(Key("m", "b"), 0.0) is None
    assert memory.get(Key("m", "a"), 0.0) is not None
    assert (len(memory), memory.used_bytes, memory.evictions) == (3, 30, 1)
    memory.put(Key("m", "e"), bytes(31), 1.0)
    assert (len(memory), memory.used_bytes) == (0, 0)


async def test_the_disk_keeps_the_latest_used_within_its_bound(tmp_path: Path) -> None:
    store = disk(tmp_path, most_bytes=30)
    for now, digest in enumerate("abc"):
        await store.put(Key("m", digest), Entry(bytes(10), 500.0), float(now))
    assert await store.get(Key("m", "a"), 100.0) == Entry(bytes(10), 500.0)
    await store.put(Key("m", "d"), Entry(bytes(10), 500.0), 101.0)
    assert await store.get(Key("m", "b"), 102.0) is None
    assert await store.get(Key("m", "a"), 102.0) is not None
    figures = store.figures()
    assert (figures.entries, figures.used_bytes, figures.evictions) == (3, 30, 1)
    await store.put(Key("m", "e"), Entry(bytes(10), 900.0), 600.0)
    assert store.figures().entries == 1
    await store.close()


async def test_a_clock_that_was_set_back_makes_no_answer_last(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "responses.sqlite", 1 << 20, 100.0)
    await store.put(KEY, Entry(b"x", 1100.0), 1000.0)
    assert await store.get(KEY, 1050.0) is not None
    assert await store.get(KEY, 10.0) is None
    await store.close()


async def check_degraded(cache: ResponseCache, caplog: pytest.LogCaptureFixture, why: str) -> None:
    """Answers go on, from memory too; there is one line about the store."""
    with caplog.at_level(logging.INFO, "localserve.response_cache"):
        for digest in "abc":
            assert await ask(cache, Model(), Key("m", digest)) == ("miss", ANSWER)
            assert await ask(cache, Model(), Key("m", digest)) == ("hit", ANSWER)
    (line,) = caplog.messages
    assert "Kept answers are in memory alone until" in line
    assert why in line
    assert not cache.store_works


async def test_a_file_that_is_no_database_costs_nothing_but_itself(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "PAUSE_SECONDS", 0.0)  # it is asked each time
    (tmp_path / "responses.sqlite").write_bytes(b"nonsense" * 1000)
    async with opened(disk(tmp_path)) as cache:
        await check_degraded(cache, caplog, "file is not a database")
        with pytest.raises(CacheFailed, match="file is not a database"):
            await cache.purge(None)
        (tmp_path / "responses.sqlite").unlink()
        await ask(cache, Model(), Key("m", "d"))
        assert cache.store_works
    async with opened(disk(tmp_path)) as cache:
        assert (await ask(cache, Model(), Key("m", "d")))[0] == "hit"


async def test_a_full_disk_costs_nothing_but_what_is_on_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(cache_module, "PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(SqliteStore, "_put", full)
    monkeypatch.setattr(SqliteStore, "_get", full)
    async with opened(disk(tmp_path)) as cache:
        await check_degraded(cache, caplog, "database or disk is full")


async def test_a_folder_that_cannot_be_made_costs_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    async with opened(disk(tmp_path / "file")) as cache:
        await check_degraded(cache, caplog, "file")


async def test_a_store_that_hangs_is_not_waited_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(SqliteStore):
        async def get(self, key: Key, now: float) -> Entry | None:
            await asyncio.Event().wait()
            raise AssertionError

    monkeypatch.setattr(cache_module, "STORE_SECONDS", 0.01)
    async with opened(Hanging(tmp_path / "r.sqlite", 1 << 20, 100.0)) as cache:
        await check_degraded(cache, caplog, "TimeoutError")


async def test_a_damaged_answer_is_computed_again(tmp_path: Path) -> None:
    async with opened(disk(tmp_path)) as cache:
        await ask(cache, Model())
    with sqlite3.connect(tmp_path / "responses.sqlite") as file:
        file.execute("UPDATE answers SET value = zeroblob(40)")
    file.close()
    async with opened(disk(tmp_path)) as cache:
        assert await ask(cache, Model()) == ("miss", ANSWER)
        assert await ask(cache, Model()) == ("hit", ANSWER)


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as server:
        yield server


async def test_servers_share_answers_in_redis(redis: RedisServer) -> None:
    async with opened(RedisStore(redis.url)) as one, opened(RedisStore(redis.url)) as other:
        for name in ("m", "n*"):
            assert await ask(one, Model(), Key(name, "aa")) == ("miss", ANSWER)
            assert await ask(other, Model(), Key(name, "aa")) == ("hit", ANSWER)
        assert one.store_figures is None
        assert await one.purge("n*") == 1
        assert await one.purge("n*") == 0
    async with opened(RedisStore(redis.url)) as third:
        assert (await ask(third, Model(), Key("m", "aa")))[0] == "hit"
        assert await third.purge(None) == 1


async def test_answers_in_redis_end_by_their_time(redis: RedisServer) -> None:
    store = RedisStore(redis.url)
    await store.put(KEY, Entry(b"x", 100.0), 90.0)
    found = await store.get(KEY, 90.0)
    assert found is not None
    assert found.expires_at == pytest.approx(100, abs=5)
    await store.put(KEY, Entry(b"x", 90.001), 90.0)
    async with asyncio.timeout(20):
        while await store.get(KEY, 90.0) is not None:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    await store.close()


async def test_a_redis_that_is_killed_costs_nothing_but_itself(
    redis: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "PAUSE_SECONDS", 0.0)
    async with opened(RedisStore(redis.url)) as cache:
        await ask(cache, Model())
        redis.kill()
        assert (await ask(cache, Model()))[0] == "hit"
        await check_degraded(cache, caplog, "Redis")
        with pytest.raises(CacheFailed, match="Redis"):
            await cache.purge(None)
        redis.start()
        await ask(cache, Model(), Key("m", "d"))
        assert cache.store_works
