"""Steps by sequences and by context."""

from __future__ import annotations

from pathlib import Path

import llama_cpp

from benchmarks.growth import Bench, Cost, DecodeClock, sections
from benchmarks.make_model import WeightType, make_model
from benchmarks.shapes import SHAPES, ShapeName


def test_a_step_is_llama_cpps_part_and_ours(tmp_path: Path) -> None:
    model = tmp_path / "tiny.gguf"
    make_model(model, SHAPES[ShapeName.TINY], WeightType.F16)
    decode = llama_cpp.llama_decode
    with DecodeClock() as clock:
        bench = Bench(clock, model, threads=1, context=1_024, sequences=3)
        for sequences, context in ((1, 300), (3, 40)):
            cost = bench.measure(sequences, context, steps=3)
            assert (cost.sequences, cost.context) == (sequences, context)
            assert 0 < cost.decode < cost.step
            assert cost.raw > 0
    assert llama_cpp.llama_decode is decode


def test_each_direction_is_a_table_and_python_is_held_to_its_goals() -> None:
    costs = [Cost(16, 256, 0.0105, 0.0100, 0.0101), Cost(64, 256, 0.0240, 0.0200, 0.0202)]
    by_sequences, by_context = sections(costs, [Cost(1, 16_384, 0.05, 0.04, 0.04)])
    assert [row[0] for row in by_sequences.rows] == ["16", "64"]
    assert [row[-1] for row in by_sequences.rows] == ["< 1 ms met", "< 3 ms missed"]
    assert by_sequences.rows[1][1:6] == ("2666.7", "24.00", "20.00", "4.00", "16.7%")
    assert by_context.rows[0][0] == "16,384"
    for section in (by_sequences, by_context):
        assert all(len(row) == len(section.headings) for row in section.rows)
