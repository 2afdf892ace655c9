"""The thread that makes vectors, over an embedder without a model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from localserve.engine.embedder import Piece
from localserve.engine.embedding import EmbeddingEngine
from localserve.engine.runner import DecodeFailed
from localserve.errors import EngineFailed, ModelUnusable, Overloaded
from tests.engine.scripted_embedder import ScriptedEmbedder, vector_of

PATIENCE_SECONDS = 20.0


@asynccontextmanager
async def running(
    embedder: ScriptedEmbedder, max_waiting: int = 8
) -> AsyncIterator[EmbeddingEngine[ScriptedEmbedder]]:
    engine = EmbeddingEngine("test", lambda: embedder, max_waiting=max_waiting)
    await engine.start()
    async with asyncio.timeout(PATIENCE_SECONDS):
        yield engine
        await engine.close()


class Gate:
    """Holds the engine thread within a step."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def __call__(self, batch: Sequence[Piece]) -> None:
        self.entered.set()
        assert self.opened.wait(PATIENCE_SECONDS)

    async def is_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.wait, PATIENCE_SECONDS)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def test_vectors_come_in_the_order_of_the_inputs() -> None:
    async with running(ScriptedEmbedder()) as engine:
        inputs = ((1, 2), (3,), tuple(range(600)), (4, 5, 6))
        vectors = await engine.embed(inputs)
        assert [list(vector) for vector in vectors] == [vector_of(one) for one in inputs]


async def test_requests_at_once_share_steps() -> None:
    gate = Gate()
    embedder = ScriptedEmbedder(on_run=gate)
    async with running(embedder) as engine:
        first = asyncio.create_task(engine.embed(((1,),)))
        await gate.is_entered()
        others = [asyncio.create_task(engine.embed(((number,),))) for number in range(5)]
        await asyncio.sleep(0)
        gate.opened.set()
        assert list((await first)[0]) == vector_of((1,))
        for number, task in enumerate(others):
            assert list((await task)[0]) == vector_of((number,))
    assert [len(batch) for batch in embedder.batches] == [1, 5]


async def test_a_cancelled_request_ends_within_its_step() -> None:
    gate = Gate()
    embedder = ScriptedEmbedder(on_run=gate)
    async with running(embedder) as engine:
        task = asyncio.create_task(engine.embed(((1, 2, 3),)))
        await gate.is_entered()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert embedder.interrupted.is_set()
        gate.opened.set()
        await until(lambda: engine.snapshot.running == 0 and engine.step_age_seconds == 0.0)
        assert embedder.batches == []
        assert list((await engine.embed(((7,),)))[0]) == vector_of((7,))


async def test_cancelling_one_of_two_disturbs_the_other_one_not() -> None:
    gate = Gate()
    embedder = ScriptedEmbedder(on_run=gate)
    async with running(embedder) as engine:
        blocker = asyncio.create_task(engine.embed(((0,),)))
        await gate.is_entered()
        gate.entered.clear()
        kept = asyncio.create_task(engine.embed(((1,), (2,))))
        gone = asyncio.create_task(engine.embed(((3,),)))
        await asyncio.sleep(0)
        gate.opened.set()
        await blocker
        gone.cancel()
        assert [list(vector) for vector in await kept] == [vector_of((1,)), vector_of((2,))]


async def test_a_failed_step_fails_its_requests_and_no_others() -> None:
    def fail(batch: Sequence[Piece]) -> None:
        if any(666 in piece.tokens for piece in batch):
            raise DecodeFailed("no such thing")

    async with running(ScriptedEmbedder(on_run=fail)) as engine:
        with pytest.raises(EngineFailed, match="no such thing"):
            await engine.embed(((1,), (666,)))
        assert list((await engine.embed(((2,),)))[0]) == vector_of((2,))


async def test_more_requests_than_may_wait_are_refused() -> None:
    gate = Gate()
    async with running(ScriptedEmbedder(on_run=gate), max_waiting=1) as engine:
        first = asyncio.create_task(engine.embed(((1,),)))
        await gate.is_entered()
        second = asyncio.create_task(engine.embed(((2,),)))
        third = asyncio.create_task(engine.embed(((3,),)))
        await asyncio.sleep(0)
        gate.opened.set()
        await asyncio.gather(first, second)
        with pytest.raises(Overloaded):
            await third


async def test_closing_tells_those_who_wait_and_frees_the_model() -> None:
    gate = Gate()
    embedder = ScriptedEmbedder(on_run=gate)
    async with running(embedder) as engine:
        task = asyncio.create_task(engine.embed(((1,),)))
        await gate.is_entered()
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0)
        gate.opened.set()
        await closing
        with pytest.raises(EngineFailed, match="unloaded"):
            await task
        assert embedder.closed
        assert not await engine.responsive(1.0)
        with pytest.raises(EngineFailed, match="has stopped"):
            await engine.embed(((1,),))


async def test_it_answers_a_ping_between_and_within_steps() -> None:
    gate = Gate()
    async with running(ScriptedEmbedder(on_run=gate)) as engine:
        assert await engine.responsive(5.0)
        task = asyncio.create_task(engine.embed(((1,),)))
        await gate.is_entered()
        assert await engine.responsive(5.0)
        assert not await engine.responsive(5.0, step_seconds=0.0)
        gate.opened.set()
        await task


async def test_what_making_the_embedder_raises_comes_out_of_start() -> None:
    def make() -> ScriptedEmbedder:
        raise ModelUnusable("broken")

    engine = EmbeddingEngine("test", make)
    with pytest.raises(ModelUnusable, match="broken"):
        await engine.start()
    await engine.close()
