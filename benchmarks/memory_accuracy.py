"""What a header predicts of a model's memory, beside what llama.cpp then takes: one row a model.

Run as `python -m benchmarks.memory_accuracy`. The models are the tests' small ones of many
architectures, with random weights; each is predicted from its header alone, by the dry run and by
the formula, and then really loaded. The same comparison is a test; this prints it.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from gguf import GGMLQuantizationType
from rich import print as show
from rich.table import Table

from localserve.catalog.headers import read_local
from localserve.gguf.hollow import write_hollow
from localserve.planner.dry_run import dry_run
from localserve.planner.formula import estimate
from localserve.planner.runtime import Runtime
from localserve.planner.usage import MemoryUsage
from tests.gguf.small_models import SMALL_MODELS, write_small_model
from tests.planner.real_loads import load_all

RUNTIME = Runtime(context_tokens=2_048, sequences=6)
QUANTIZED_CACHE = replace(RUNTIME, cache_type_k="q8_0", cache_type_v="q8_0")
WIDE_HEADS = ("gemma2", "gemma3", "gpt-oss", "qwen3next")
"""Models whose heads are long enough for a quantized cache."""

SHARDS = 3
MIB = 1 << 20


@dataclass(frozen=True, slots=True)
class Row:
    """One model under one runtime, in bytes."""

    model: str
    cache: str
    weights: int
    kv: int
    compute: int
    predicted: int
    by_formula: int
    taken: int

    @property
    def error(self) -> float:
        """Of the dry run, as a share of what was taken."""
        return self.predicted / self.taken - 1

    @property
    def formula_error(self) -> float:
        """Of the formula, likewise; its compute buffers are made for real sizes, not for these."""
        return self.by_formula / self.taken - 1


def cases(folder: Path) -> Iterator[tuple[str, Path, Runtime]]:
    """Every model with a plain cache, one of them split, and some with a quantized cache."""
    kind = GGMLQuantizationType.Q4_0
    for name, model in SMALL_MODELS.items():
        path = write_small_model(folder / f"{name}.gguf", model, kind)
        yield name, path, RUNTIME
        if name in WIDE_HEADS:
            yield name, path, QUANTIZED_CACHE
    split = write_small_model(folder / "split", SMALL_MODELS["llama"], kind, SHARDS)
    yield f"llama, {SHARDS} shards", split, RUNTIME


def compare(folder: Path) -> list[Row]:
    """Predict and load all cases."""
    found = list(cases(folder))
    taken = load_all([(path, runtime) for _, path, runtime in found])
    return [
        _row(name, path, runtime, real, folder / "hollow" / str(number))
        for number, ((name, path, runtime), real) in enumerate(zip(found, taken, strict=True))
    ]


def _row(name: str, path: Path, runtime: Runtime, real: MemoryUsage, hollow: Path) -> Row:
    header = read_local(path)
    hollow.mkdir(parents=True)
    (predicted,) = dry_run(write_hollow(header.files, hollow), [runtime])
    if not isinstance(predicted, MemoryUsage):
        raise SystemExit(f"error: the dry run of {name} failed: {predicted}")
    return Row(
        model=name,
        cache=runtime.cache_type_k,
        weights=predicted.weights_bytes,
        kv=predicted.cache_bytes,
        compute=predicted.compute_bytes,
        predicted=predicted.total_bytes,
        by_formula=estimate(header.facts, runtime).total_bytes,
        taken=real.total_bytes,
    )


def table_of(rows: list[Row]) -> Table:
    """For people, in MiB."""
    table = Table("model", title="memory, predicted from the header and taken", title_style="")
    for column in ("cache", "weights", "KV or state", "compute", "predicted", "taken", "error"):
        table.add_column(column, justify="left" if column == "cache" else "right")
    for row in rows:
        sizes = (row.weights, row.kv, row.compute, row.predicted, row.taken)
        table.add_row(
            row.model, row.cache, *(f"{size / MIB:.2f}" for size in sizes), f"{row.error:+.2%}"
        )
    return table


def main(
    json_output: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Predict the memory of models of many architectures, and load them."""
    with tempfile.TemporaryDirectory() as folder:
        rows = compare(Path(folder))
    errors = [abs(row.error) for row in rows]
    if json_output:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return
    show(table_of(rows))
    show(f"{len(rows)} loads; median error {median(errors):.3%}, worst {max(errors):.3%}")


if __name__ == "__main__":
    typer.run(main)
