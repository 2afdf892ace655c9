"""Which inputs are computed next: pure, over an embedder without a model."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.engine.embedder import Piece
from localserve.engine.inputs import STEP_TOKENS, Inputs, Job
from localserve.errors import Overloaded
from tests.engine.scripted_embedder import ScriptedEmbedder, vector_of

NUMBERS = itertools.count()


def job(*lengths: int) -> Job:
    return Job(next(NUMBERS), tuple(tuple(range(length)) for length in lengths))


def owners(inputs: Inputs, pieces: list[Piece]) -> list[int]:
    return [job.number for job in inputs.jobs_of(pieces)]


def step(inputs: Inputs, embedder: ScriptedEmbedder) -> list[Job]:
    pieces = inputs.schedule()
    return inputs.update(pieces, embedder.run(pieces))


def run_all(inputs: Inputs, embedder: ScriptedEmbedder) -> list[Job]:
    done: list[Job] = []
    while not inputs.idle:
        done += step(inputs, embedder)
    return done


def test_inputs_of_one_request_are_computed_together() -> None:
    embedder = ScriptedEmbedder()
    inputs = Inputs(embedder, max_jobs=4)
    inputs.submit(job(3, 4, 5))
    assert [one.done for one in step(inputs, embedder)] == [True]
    assert len(embedder.batches) == 1


def test_a_request_with_many_inputs_does_not_hold_up_one_with_a_single_input() -> None:
    embedder = ScriptedEmbedder(slots=64)
    inputs = Inputs(embedder, max_jobs=4)
    many, single = job(*[100] * 50), job(10)
    inputs.submit(many)
    inputs.submit(single)
    assert step(inputs, embedder) == [single]
    assert run_all(inputs, embedder) == [many]


def test_a_long_input_has_a_step_of_its_own_and_its_turn() -> None:
    embedder = ScriptedEmbedder(cells=4_000)
    inputs = Inputs(embedder, max_jobs=4)
    short, long = job(*[STEP_TOKENS] * 5), job(3_000)
    inputs.submit(short)
    inputs.submit(long)
    step(inputs, embedder)
    assert step(inputs, embedder) == [long]
    assert [len(piece.tokens) for piece in embedder.batches[-1]] == [3_000]


def test_a_long_input_is_divided_and_leaves_room_for_others() -> None:
    embedder = ScriptedEmbedder(cells=4_000, divides=True)
    inputs = Inputs(embedder, max_jobs=4)
    long, short = job(3_000), job(20)
    inputs.submit(long)
    inputs.submit(short)
    assert step(inputs, embedder) == [short]
    assert sum(len(piece.tokens) for piece in embedder.batches[0]) == STEP_TOKENS
    assert run_all(inputs, embedder) == [long]
    assert list(long.vectors[0]) == vector_of(range(3_000))


def test_nobody_overtakes_an_input_that_waits_for_cells() -> None:
    embedder = ScriptedEmbedder(cells=1_000, divides=True)
    inputs = Inputs(embedder, max_jobs=4)
    first, large, small = job(900), job(950), job(*[50] * 40)
    for one in (first, large, small):
        inputs.submit(one)
    done = run_all(inputs, embedder)
    assert done == [first, large, small]


def test_a_request_of_long_inputs_holds_up_nobody_while_it_is_being_computed() -> None:
    embedder = ScriptedEmbedder(cells=4_000, divides=True)
    inputs = Inputs(embedder, max_jobs=4)
    long, short = job(3_000, 3_000), job(20)
    inputs.submit(long)
    step(inputs, embedder)
    inputs.submit(short)
    assert step(inputs, embedder) == [short]


def test_a_dropped_request_leaves_nothing_behind() -> None:
    embedder = ScriptedEmbedder(cells=4_000, divides=True)
    inputs = Inputs(embedder, max_jobs=4)
    long = job(3_000)
    inputs.submit(long)
    step(inputs, embedder)
    assert inputs.drop(long) == list(embedder.memory)
    assert inputs.idle
    assert inputs.cells_used == 0
    assert inputs.drop(long) == []


def test_a_step_that_brought_nothing_is_computed_again() -> None:
    embedder = ScriptedEmbedder(cells=4_000, divides=True)
    inputs = Inputs(embedder, max_jobs=4)
    long = job(1_200)
    inputs.submit(long)
    step(inputs, embedder)
    embedder.memory.clear()
    inputs.restart(inputs.schedule())
    assert run_all(inputs, embedder) == [long]
    assert list(long.vectors[0]) == vector_of(range(1_200))


def test_too_many_requests_are_refused_with_the_numbers() -> None:
    inputs = Inputs(ScriptedEmbedder(), max_jobs=2)
    inputs.submit(job(1))
    inputs.submit(job(1))
    with pytest.raises(Overloaded, match="2 requests wait already, and this server lets 2 wait"):
        inputs.submit(job(1))


Lengths = st.lists(st.integers(1, 1_500), min_size=1, max_size=12)


@given(st.lists(Lengths, min_size=1, max_size=6), st.booleans(), st.integers(1, 4))
def test_every_input_is_computed_once_and_in_bounds(
    requests: list[list[int]], divides: bool, slots: int
) -> None:
    embedder = ScriptedEmbedder(cells=1_500, slots=slots, divides=divides)
    inputs = Inputs(embedder, max_jobs=len(requests))
    jobs = [job(*lengths) for lengths in requests]
    for one in jobs:
        inputs.submit(one)
    assert {one.number for one in run_all(inputs, embedder)} == {one.number for one in jobs}
    for one in jobs:
        wanted = [vector_of(tokens) for tokens in one.inputs]
        assert [list(one.vectors[index]) for index in range(len(one.inputs))] == wanted
    for batch in embedder.batches:
        tokens = sum(len(piece.tokens) for piece in batch)
        assert tokens <= STEP_TOKENS or (len(batch) == 1 and not divides)
    assert not embedder.memory
    assert inputs.cells_used == 0
