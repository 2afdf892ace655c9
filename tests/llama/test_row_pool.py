"""Rows sampled by several threads, where that is faster."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from localserve.llama.row_pool import LEAST_ROWS, TRIALS, TRIED_AGAIN, RowPool

ROWS = 16


class Machine:
    """Rows that take their time on a clock of its own: alone, or on a thread of the pool."""

    def __init__(self, alone: float, shared: float) -> None:
        self.caller = threading.get_ident()
        self.now = 0.0
        self.alone, self.shared = alone, shared
        self.was_shared = False

    def step(self, pool: RowPool) -> bool:
        """Sample some rows; whether other threads took part."""
        self.was_shared = False
        lock = threading.Lock()

        def sample(row: int) -> int:
            with lock:
                self.was_shared |= threading.get_ident() != self.caller
            return row * row

        assert pool.map(sample, range(ROWS)) == [row * row for row in range(ROWS)]
        return self.was_shared

    def read(self) -> float:
        """The clock, which is read before and after each step."""
        self.now += self.shared if self.was_shared else self.alone
        return self.now


@pytest.fixture
def pools() -> Iterator[list[RowPool]]:
    opened: list[RowPool] = []
    yield opened
    for pool in opened:
        pool.close()


@pytest.mark.parametrize(("alone", "shared"), [(3.0, 1.0), (1.0, 3.0)])
def test_the_quicker_way_is_taken_and_the_other_tried_now_and_then(
    alone: float, shared: float, pools: list[RowPool]
) -> None:
    machine = Machine(alone, shared)
    pools.append(pool := RowPool(8, machine.read))
    for number in range(1, 2 * TRIALS + 1):
        assert machine.step(pool) == (number % 2 == 0)
    ways = [machine.step(pool) for _ in range(2 * TRIALS + 1, TRIED_AGAIN)]
    assert set(ways) == {shared < alone}
    assert machine.step(pool) != (shared < alone)


def test_a_machine_that_changes_is_followed(pools: list[RowPool]) -> None:
    machine = Machine(3.0, 1.0)
    pools.append(pool := RowPool(8, machine.read))
    for _ in range(2 * TRIALS + 1):
        machine.step(pool)
    assert machine.step(pool)
    machine.shared = 9.0
    for _ in range(20):
        machine.step(pool)
    assert not machine.step(pool)


@pytest.mark.parametrize(("cores", "rows"), [(2, 64), (3, 64), (8, LEAST_ROWS - 1)])
def test_few_cores_or_rows_are_left_to_the_caller(cores: int, rows: int) -> None:
    pool, caller = RowPool(cores), threading.get_ident()
    for _ in range(20):
        assert set(pool.map(lambda row: threading.get_ident(), range(rows))) == {caller}


def test_what_a_row_raises_is_raised(pools: list[RowPool]) -> None:
    pools.append(pool := RowPool(8))

    def fail(row: int) -> None:
        if row == ROWS - 1:
            raise KeyError("the last one")

    for _ in range(2 * TRIALS):
        with pytest.raises(KeyError, match="the last one"):
            pool.map(fail, range(ROWS))


def test_closing_twice_is_harmless() -> None:
    pool = RowPool(8)
    for _ in range(2):
        pool.map(str, range(ROWS))
    pool.close()
    pool.close()
