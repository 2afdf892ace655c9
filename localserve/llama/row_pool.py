"""Rows sampled by several threads, where that is faster. Used by one thread at a time.

Rows are of different sequences, and numpy lets other threads run while it goes over one. Whether
that saves time depends on the cores that are free, on how rows are sampled, and on where they lie:
a GPU's come from main memory, a processor's are in its cache. So both ways are timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

LEAST_ROWS: Final = 4
"""Fewer are sampled sooner than another thread has woken up."""

ROWS_PER_THREAD: Final = 2
MOST_THREADS: Final = 8

TRIALS: Final = 4
"""Of each way, before the quicker one is chosen."""

TRIED_AGAIN: Final = 100
"""The slower way gets one of so many steps: the machine may have less to do now, or more."""

SMOOTHING: Final = 0.2
"""Weight of the newest measurement."""


class RowPool:
    """A few threads besides the caller's; they are started when they are first needed."""

    def __init__(self, cores: int, clock: Callable[[], float] = time.perf_counter) -> None:
        """`cores` are those that this process may use."""
        self._threads = min(MOST_THREADS, cores // 2)
        self._clock = clock
        self._pool: ThreadPoolExecutor | None = None
        self._ways: dict[int, Ways] = {}

    def map(self, sample: Callable[[Item], Result], rows: Sequence[Item]) -> list[Result]:
        """What `sample` makes of each row, in their order; what it raises is raised."""
        if self._threads < 2 or len(rows) < LEAST_ROWS:
            return [sample(row) for row in rows]
        ways = self._ways.setdefault(len(rows).bit_length(), Ways())
        shared = ways.next()
        began = self._clock()
        results = self._share(sample, rows) if shared else [sample(row) for row in rows]
        ways.observe(shared, (self._clock() - began) / len(rows))
        return results

    def _share(self, sample: Callable[[Item], Result], rows: Sequence[Item]) -> list[Result]:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads - 1, thread_name_prefix="rows")
        parts = min(self._threads, len(rows) // ROWS_PER_THREAD)
        ends = [len(rows) * number // parts for number in range(parts + 1)]

        def work(number: int) -> list[Result]:
            return [sample(row) for row in rows[ends[number] : ends[number + 1]]]

        others = [self._pool.submit(work, number) for number in range(1, parts)]
        results = work(0)
        for other in others:
            results += other.result()
        return results

    def close(self) -> None:
        """End the threads. Harmless when called twice."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None


class Ways:
    """Which of two ways is the quicker one, by running means of what a row takes."""

    def __init__(self) -> None:
        self._steps = 0
        self._seconds: dict[bool, float] = {}

    def next(self) -> bool:
        """Whether the next step is to be shared among threads."""
        self._steps += 1
        if self._steps <= 2 * TRIALS:
            return self._steps % 2 == 0
        quicker = self._seconds[True] < self._seconds[False]
        return not quicker if self._steps % TRIED_AGAIN == 0 else quicker

    def observe(self, shared: bool, seconds: float) -> None:
        """Learn what a row took. Of the trials the quickest counts: threads start slowly."""
        before = self._seconds.get(shared, seconds)
        newest = before + SMOOTHING * (seconds - before)
        trying = self._steps <= 2 * TRIALS
        self._seconds[shared] = min(before, seconds) if trying else newest
