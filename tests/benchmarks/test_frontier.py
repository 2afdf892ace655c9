"""What is told of gaps and first tokens."""

from __future__ import annotations

from benchmarks.frontier import BUDGET, OWN_CHOICE, PEER_DEFAULT, Choice, section
from benchmarks.scenarios import LONG_FIRST_TOKEN, LONGEST_GAP, LongPrompt

Figures = dict[object, list[float]]


def figures(gap: float, first: float, budget_ms: float | None = None) -> Figures:
    found: Figures = {LONGEST_GAP: [gap, gap, 99.0], LONG_FIRST_TOKEN: [first, first, 0.0]}
    if budget_ms is not None:
        found[BUDGET] = [budget_ms]
    return found


def test_each_choice_is_held_against_the_peers_default_and_their_shortest_gap() -> None:
    samples = {
        OWN_CHOICE: figures(0.4, 9.0, 300.0),
        Choice(True, 125.0): figures(0.26, 12.6, 125.0),
        Choice(True, 1000.0): figures(1.1, 8.0, 1000.0),
        PEER_DEFAULT: figures(10.0, 8.0),
        Choice(False, 64.0): figures(2.0, 11.0),
    }
    found = section(samples, LongPrompt())  # type: ignore[arg-type]
    rows = {row[0]: row[1:] for row in found.rows}
    assert rows["its own choice, 300 ms"] == ("0.400", "9.00", "0.040", "0.200", "1.125", "met")
    assert rows["125 ms"][-1] == "missed: gap ≤ 2 budgets, first token ≤ 1.25"
    assert rows["1000 ms"][-1] == "missed: gap ≤ 1/20"
    assert rows["xllamacpp"][-1] == ""
    assert rows["xllamacpp -b -ub 64"][0] == "2.000"
    assert all(len(row) == len(found.headings) for row in found.rows)


def test_without_a_peer_only_the_budget_is_held() -> None:
    samples = {OWN_CHOICE: figures(0.4, 9.0, 300.0)}
    (row,) = section(samples, LongPrompt()).rows  # type: ignore[arg-type]
    assert row[3:] == ("", "", "", "met")
