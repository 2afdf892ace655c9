"""What `fit` says is what `up` takes, and what answers teach reaches the next `fit`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start

pytestmark = pytest.mark.e2e

OPTIONS = ("--ctx", "2048", "--parallel", "2", "--cache-type-k", "q8_0", "--cache-type-v", "q8_0")


def fit(home: Path, *arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "localserve", "fit", *arguments, "--json"],
        env={**os.environ, "LOCALSERVE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return json.loads(done.stdout)


def test_up_runs_what_fit_planned_and_learns_from_it(
    start: Start, tiny_q4_k_m: Path, tmp_path: Path
) -> None:
    planned = fit(tmp_path, str(tiny_q4_k_m), *OPTIONS)
    server = start(str(tiny_q4_k_m), *OPTIONS)
    body = {"prompt": "one two three", "max_tokens": 40, "ignore_eos": True, "temperature": 0}
    assert server.post("/v1/completions", body).status_code == 200
    assert server.stop() == 0
    learned = json.loads((tmp_path / "data" / "learned.json").read_text())
    (load,) = learned["loads"]["qwen3 CPU"]
    assert load["measured_bytes"] == pytest.approx(planned["memory"]["total_bytes"], rel=0.01)
    assert load["predicted_bytes"] == pytest.approx(load["measured_bytes"], rel=0.01)
    if learned["answers"]:  # a busy machine's answer may be too far off to count
        again = fit(tmp_path, str(tiny_q4_k_m), *OPTIONS)
        assert again["speed"]["calibrated_by_answers"] == 1


def test_a_context_that_cannot_fit_is_refused_before_it_is_tried(
    start: Start, tiny_q4_k_m: Path
) -> None:
    server = start(str(tiny_q4_k_m), "--ctx", "50000")
    assert server.wait() == 1
    assert "--ctx 40960 is the most" in server.output
