"""The benchmark of masks prints every grammar that it measures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.masks import SHAPES

ROOT = Path(__file__).parent.parent.parent


def test_the_program_prints_every_grammar() -> None:
    command = [sys.executable, "-m", "benchmarks.masks", "--tokens", "2", "--json"]
    printed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    grammars = json.loads(printed)["grammars"]
    assert list(grammars) == list(SHAPES)
    assert all(figures["mask_us"]["median"] > 0 for figures in grammars.values())
