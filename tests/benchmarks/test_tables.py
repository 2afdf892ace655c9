"""Tables of their own, on a terminal, as JSON and in the log."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks import tables
from benchmarks.machine import Machine
from benchmarks.tables import Findings, Section, render_log_entry, show


@pytest.fixture
def findings() -> Findings:
    return Findings(
        settings={"threads": "2", "runs": "3"},
        sections=(
            Section(("what", "how much"), (("one", "1.5"), ("other", "2.5")), "a first table"),
            Section(("what", "goal"), (("third", "met"),)),
        ),
        samples={"one": [1.0, 2.0]},
        notes=("a doubt",),
        when=datetime(2026, 11, 26, 12, 30, tzinfo=UTC),
        machine=Machine("Some CPU", cores=2, memory_gib=23.5, system="Linux 6"),
        versions={"localserve": "0.1"},
    )


def test_an_entry_of_the_log_has_all_that_the_others_have(findings: Findings) -> None:
    assert render_log_entry(findings, "whole rows").splitlines() == [
        "## 2026-11-26 12:30 UTC: whole rows",
        "",
        "- machine: Some CPU, 2 cores, 24 GiB, Linux 6",
        "- versions: localserve 0.1",
        "- settings: threads 2, runs 3",
        "- note: a doubt",
        "",
        "A first table:",
        "",
        "| what | how much |",
        "|---|---|",
        "| one | 1.5 |",
        "| other | 2.5 |",
        "",
        "| what | goal |",
        "|---|---|",
        "| third | met |",
    ]


def test_json_goes_alone_to_stdout_and_a_note_into_the_log(
    findings: Findings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    log = tmp_path / "LOG.md"
    log.write_text("# Benchmark log\n")
    monkeypatch.setattr(tables, "LOG", log)
    show(findings, json_output=True, log="whole rows")
    printed = capsys.readouterr()
    assert json.loads(printed.out)["samples"] == {"one": [1.0, 2.0]}
    assert "a doubt" in printed.err
    assert log.read_text().endswith("| third | met |\n")
