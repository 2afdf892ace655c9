"""`localserve hardware` on this machine, measuring for real."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e


def run(home: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "localserve", "hardware", *arguments],
        env={**os.environ, "LOCALSERVE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout


def test_this_machine_is_measured_once_and_shown(tmp_path: Path) -> None:
    first: dict[str, Any] = json.loads(run(tmp_path, "--json"))
    assert first["llama_cpp"]["problem"] is None
    busy = [one for one in first["bandwidth"]["problems"] if one.startswith("Other programs used")]
    assert first["bandwidth"]["problems"] == busy  # as tests do that run beside this one
    assert not first["bandwidth"]["cached"]
    assert first["bandwidth"]["ram_bytes_per_second"] > 0
    measured = set(first["bandwidth"]["throughput"]["CPU"])
    assert measured >= {"F32", "F16", "Q8_0", "Q6_K", "Q5_K", "Q4_K", "Q4_0", "Q3_K"}
    again = json.loads(run(tmp_path, "--json"))
    assert again["bandwidth"] == {**first["bandwidth"], "cached": True}
    page = run(tmp_path)
    assert "\x1b" not in page
    assert "llama-cpp-python" in page
    assert f"{first['bandwidth']['devices']['CPU'] / 1e9:.1f} GB/s" in page
