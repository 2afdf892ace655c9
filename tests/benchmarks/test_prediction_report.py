"""Errors are ratios of the same round, and what makes them doubtful is said."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO

import pytest
from rich.console import Console

from benchmarks.machine import Machine
from benchmarks.prediction_report import (
    Line,
    Report,
    Sample,
    Times,
    lines,
    render_json,
    render_log_entry,
    render_table,
)


def sample(number: int, noise: float = 1.0, busy: float = 0.02, name: str = "Q8_0") -> Sample:
    """Predicted a tenth too quick, and right once it is calibrated, on a machine that is as slow
    as `noise` in this round."""
    measured = Times(0.020 * noise, 2.0 * noise)
    before = Times(0.018 * noise, 1.8 * noise)
    return Sample(name, number, busy, before, measured, measured if number else None)


def report(*samples: Sample) -> Report:
    where = Machine("a processor", 2, 24.0, "Linux 6")
    when = datetime(2026, 11, 26, 1, 30, tzinfo=UTC)
    return Report(when, where, {"localserve": "0.1.0"}, {"rounds": "3"}, samples)


def decode_and_first(*samples: Sample) -> tuple[Line, Line]:
    decode, first = lines(samples)
    return decode, first


def test_a_drift_of_the_machine_is_no_error() -> None:
    decode, first = decode_and_first(sample(0), sample(1, 3.0), sample(2, 1.5))
    assert decode.error_before == pytest.approx(1 / 0.9 - 1)
    assert first.error_before == pytest.approx(-0.1)
    assert (decode.error_after, first.error_after) == (pytest.approx(0), pytest.approx(0))
    assert decode.measured == pytest.approx(1 / 0.030)
    assert decode.met
    assert first.met


def test_a_prediction_too_far_off_is_missed_before_or_after() -> None:
    far = [replace(one, before=Times(0.010, 1.0)) for one in (sample(0), sample(1))]
    assert [line.met for line in lines(far)] == [False, False]
    later = [sample(0), replace(sample(1), after=Times(0.023, 2.3))]
    decode, _ = decode_and_first(*later)
    assert decode.error_after == pytest.approx(0.020 / 0.023 - 1)
    assert not decode.met


def test_without_a_second_round_nothing_is_said_of_calibration() -> None:
    decode, _ = decode_and_first(sample(0))
    assert (decode.after, decode.error_after, decode.met) == (None, None, False)


def test_a_busy_machine_is_told_of() -> None:
    assert report(sample(0), sample(1)).notes == []
    (note,) = report(sample(0), sample(1, busy=0.7)).notes
    assert "up to 70% of all processors before 1 of 2 measurements" in note


def test_all_forms_have_all_quantizations() -> None:
    told = report(*(sample(one, name=name) for name in ("Q4_K_M", "F16") for one in (0, 1)))
    out = StringIO()
    Console(file=out, width=140).print(render_table(told))
    entry = render_log_entry(told, "on a quiet machine")
    assert entry.startswith("## 2026-11-26 01:30 UTC: on a quiet machine\n")
    for text in (out.getvalue(), entry):
        for name in ("Q4_K_M", "F16", "decode (tok/s)", "first token (s)", "+11.1%"):
            assert name in text
    document = json.loads(render_json(told))
    assert [line["quantization"] for line in document["figures"]] == ["Q4_K_M"] * 2 + ["F16"] * 2
    assert len(document["samples"]) == 4
