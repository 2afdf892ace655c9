"""What is shown and logged of results."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import report
from benchmarks.machine import Machine, read_machine, read_version
from benchmarks.report import Comparison, Results, compare
from benchmarks.run import LOG
from benchmarks.scenarios import DECODE, ENGINE_DECODE, LONGEST_GAP
from benchmarks.servers import OURS, RAW_LOOP


@pytest.fixture
def results() -> Results:
    return Results(
        when=datetime(2026, 11, 24, 12, 30, tzinfo=UTC),
        machine=Machine("Some CPU", cores=2, memory_gib=23.5, system="Linux 6"),
        versions={"localserve": "0.1", "xllamacpp": "1.2"},
        settings={"threads": "2", "runs": "3"},
        samples={
            DECODE: {OURS: [24.0, 25.0, 26.0], "xllamacpp": [25.0, 25.0, 25.0]},
            ENGINE_DECODE: {
                OURS: [25.0, 26.0, 27.0],
                "xllamacpp": [26.0, 26.0, 26.0],
                RAW_LOOP: [27.0, 26.0, 26.0],
            },
            LONGEST_GAP: {OURS: [3.0, 3.0, 3.0], "xllamacpp": [12.0, 12.0, 12.0]},
        },
        idle={"localserve": 0.001},
        notes=("a doubt",),
    )


def find(results: Results, figure: object, against: str) -> Comparison:
    (line,) = (x for x in compare(results) if x.figure == figure and x.against == against)
    return line


def test_each_figure_is_compared_with_each_peer_and_decoding_with_the_raw_loop(
    results: Results,
) -> None:
    assert [(line.figure, line.against) for line in compare(results)] == [
        (DECODE, "xllamacpp"),
        (DECODE, RAW_LOOP),
        (ENGINE_DECODE, "xllamacpp"),
        (ENGINE_DECODE, RAW_LOOP),
        (LONGEST_GAP, "xllamacpp"),
    ]
    line = find(results, DECODE, "xllamacpp")
    assert (line.ours, line.theirs, line.ratio.value) == (25.0, 25.0, 1.0)
    assert (line.ratio.least, line.ratio.most) == (0.96, 1.04)
    gap = find(results, LONGEST_GAP, "xllamacpp")
    assert gap.goal is not None
    assert not gap.goal.is_met(gap.ratio.value)


def test_the_table_says_which_goals_are_missed(results: Results) -> None:
    console = Console(file=StringIO(), width=110)

    console.print(report.render_table(results))

    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "≤ 0.050 missed" in text
    assert "≥ 0.98 met" in text


def test_the_json_holds_every_sample(results: Results) -> None:
    document = json.loads(report.render_json(results))

    decode = document["figures"][0]
    assert decode["name"] == DECODE.name
    assert decode["samples"] == {OURS: [24.0, 25.0, 26.0], "xllamacpp": [25.0, 25.0, 25.0]}
    assert document["when"] == "2026-11-24T12:30:00+00:00"
    assert len(document["ratios"]) == 5


def test_an_entry_of_the_log_has_note_machine_versions_settings_and_table(results: Results) -> None:
    lines = report.render_log_entry(results, "smaller steps").splitlines()

    assert lines[0] == "## 2026-11-24 12:30 UTC: smaller steps"
    assert "- machine: Some CPU, 2 cores, 24 GiB, Linux 6" in lines
    assert "- versions: localserve 0.1, xllamacpp 1.2" in lines
    assert "- settings: threads 2, runs 3" in lines
    assert "- idle: localserve 0.1%" in lines
    assert "- note: a doubt" in lines
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + 5
    assert table[2] == (
        "| decode, HTTP (tok/s) | 25 | xllamacpp | 25 | 1.000 | 0.960 to 1.040 | ≥ 0.98 met |"
    )
    assert {line.count("|") for line in table} == {8}


def test_a_new_entry_is_the_last_one(tmp_path: Path, results: Results) -> None:
    log = tmp_path / "LOG.md"
    log.write_text(LOG.read_text())

    for note in ("first", "second"):
        report.append_log_entry(log, report.render_log_entry(results, note))

    text = log.read_text()
    assert text.startswith("# Benchmark log\n")
    assert text.index(": first\n") < text.index(": second\n")
    assert text.endswith("|\n")


def test_this_machine_has_a_name_and_cores() -> None:
    machine = read_machine()

    assert machine.processor
    assert machine.cores >= 1
    assert machine.memory_gib > 0


def test_a_package_that_is_not_there_is_said_to_be_missing() -> None:
    assert read_version("no-such-package-at-all") == "not installed"
