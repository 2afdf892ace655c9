"""The measurement of drafts, on models of no size."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.draft import MOST_STREAMS, Bench, Case, document, table
from benchmarks.guessing import never_again


@pytest.fixture
def bench(tiny_f16: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    def short(seed: int, vocabulary: int) -> tuple[list[int], list[int]]:
        tokens = list(range(1 + seed % 100, 81 + seed % 100))
        return tokens[:40], tokens[40:]

    monkeypatch.setattr("benchmarks.draft.never_again", short)
    return Bench(tiny_f16, tiny_f16, threads=1)


def test_both_ways_give_all_answers_and_only_one_guesses(bench: Bench) -> None:
    case = Case(MOST_STREAMS, 1.0)
    plain, drafted = (bench.run(case, 0, drafts=drafts) for drafts in (False, True))
    assert plain.tokens == drafted.tokens == MOST_STREAMS * 39
    assert drafted.right == drafted.guessed > 0
    assert (plain.guessed, plain.right) == (0, 0)
    bench.runner.close()


def test_a_draft_that_is_told_to_be_wrong_is(bench: Bench) -> None:
    case = Case(1, 0.0)
    run = bench.run(case, 3, drafts=True)
    assert run.guessed > run.right == 0
    runs = {False: [run], True: [run]}
    assert document(case, runs)["right"] == 0.0
    assert table({case: runs}).row_count == 1
    bench.runner.close()


@pytest.mark.parametrize("vocabulary", [151_936, 2_048])
def test_its_texts_never_repeat(vocabulary: int) -> None:
    prompt, answer = never_again(0, vocabulary)
    assert max(*prompt, *answer) < vocabulary
    assert len({*prompt, *answer}) == len(prompt) + len(answer)
