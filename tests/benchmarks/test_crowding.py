"""A stream behind cells that others hold."""

from __future__ import annotations

from pathlib import Path

from benchmarks.crowding import HELD, section
from benchmarks.make_model import WeightType, make_model
from benchmarks.raw_loop import RawLoop
from benchmarks.shapes import SHAPES, ShapeName


def test_steps_leave_the_cells_as_they_were(tmp_path: Path) -> None:
    model = tmp_path / "tiny.gguf"
    make_model(model, SHAPES[ShapeName.TINY], WeightType.F16)
    loop = RawLoop(str(model), 1_024, 2, 1)
    for held in (0, 600, 900):
        loop.hold(1, held)
        loop.hold(1, held)
        for _ in range(2):  # a second one would not fit beside the first
            seconds = loop.crowded_step_seconds(100, 3)
            assert len(seconds) == 3
            assert min(seconds) > 0


def test_each_row_says_how_much_more_it_is_than_with_none_held() -> None:
    rows = section({HELD[0]: {32: 20.0, 256: 30.0}, 600: {32: 21.0, 256: 33.0}}).rows
    assert rows == (
        ("0", "20.00 ms (+0.0%)", "30.00 ms (+0.0%)"),
        ("600", "21.00 ms (+5.0%)", "33.00 ms (+10.0%)"),
    )
