"""Whatever comes and goes at whatever moment, an engine gives back every cell."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from localserve.chat import Priority
from localserve.engine.engine import Engine, Mailbox
from localserve.engine.runner import Slice
from localserve.engine.scripted import ScriptedRunner
from localserve.engine.sequence import Broken, Ended
from tests.engine.rig import request
from tests.engine.test_engine import PATIENCE_SECONDS, answer, engine_of, take_all, text_of, until

CELLS = 256


async def check_all_cells_are_there(engine: Engine[ScriptedRunner], runner: ScriptedRunner) -> None:
    """A prompt that needs them all is answered."""
    await until(lambda: engine.snapshot.running == engine.snapshot.waiting == 0)
    events = await answer(engine, request(b"q" * (CELLS - 3) + b"\na\n"))
    assert text_of(events) == "a"
    assert runner.cells_used <= CELLS
    assert all(sampler.closed for sampler in runner.samplers)


@pytest.mark.parametrize("moment", range(24))
async def test_a_cancel_at_any_step_harms_nobody_and_loses_nothing(moment: int) -> None:
    loop = asyncio.get_running_loop()
    steps = iter(range(10_000))

    async def cancel() -> None:
        engine.cancel(numbers[1])

    def cancel_then(batch: Sequence[Slice]) -> None:
        if next(steps) == moment:
            asyncio.run_coroutine_threadsafe(cancel(), loop).result(PATIENCE_SECONDS)

    runner = ScriptedRunner(cells=CELLS, batch_tokens=16, on_run=cancel_then)
    mailbox = Mailbox()
    numbers: list[int] = []
    async with engine_of(runner) as engine:
        asked = [request(b"w" * 40 + b"\n" + letter * 12 + b"\n") for letter in (b"a", b"b", b"c")]
        numbers += engine.submit_all(asked, mailbox)
        events = await take_all(mailbox, 2)
        assert text_of(events[numbers[0]]) == "a" * 12
        assert text_of(events[numbers[2]]) == "c" * 12
        await check_all_cells_are_there(engine, runner)


async def test_200_at_once_of_all_sizes_and_priorities_all_end() -> None:
    runner = ScriptedRunner(cells=CELLS, batch_tokens=32)
    mailbox = Mailbox()
    async with engine_of(runner, max_waiting=200) as engine:
        for number in range(200):
            size = (1, 7, 40, CELLS)[number % 4]
            prompt = bytes([ord("d") + number % 20]) * (size - 1) + b"\n"
            asked = request(prompt, max_tokens=3, priority=Priority(number % 3))
            engine.submit(asked, mailbox)
        events = await take_all(mailbox, 200)
        refused = [one for one in events.values() if isinstance(one[-1], Broken)]
        ended = [one for one in events.values() if isinstance(one[-1], Ended)]
        assert len(refused) + len(ended) == 200
        assert len(ended) >= 100, "background work may fill half of the queue"
        await check_all_cells_are_there(engine, runner)
