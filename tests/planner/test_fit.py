"""All plans for one model: how often llama.cpp is asked, and that what is shown is its count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from localserve.catalog.candidates import Candidates
from localserve.catalog.headers import Headers, read_local
from localserve.catalog.spec import HubFile, ModelSpec
from localserve.errors import ModelUnusable
from localserve.planner import gauge
from localserve.planner.dry_run import Refused
from localserve.planner.fit import Fit, fit_model
from localserve.planner.formula import estimate
from localserve.planner.machine import Machine
from localserve.planner.plan import Wanted
from localserve.planner.runtime import Runtime
from localserve.planner.usage import MemoryUsage
from tests.planner.machines import machine
from tests.planner.real_shapes import SHAPES, write_header

KINDS = ("F16", "Q8_0", "Q4_K_M", "Q2_K")


@pytest.fixture(scope="module")
def headers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Headers]:
    folder = tmp_path_factory.mktemp("quantizations")
    shape = SHAPES["qwen3-8b"]
    return {
        kind: read_local(write_header(folder / f"{kind}.gguf", shape, kind, words=False))
        for kind in KINDS
    }


class Children:
    """Answers as llama.cpp might: by the formula, and so many bytes more. Remembers each child."""

    def __init__(self, headers: dict[str, Headers], gpus: Sequence[str], more_bytes: int) -> None:
        self.by_size = {
            one.facts.size_bytes: name for name, one in headers.items() if isinstance(one, Headers)
        }
        self.headers = headers
        self.gpus = gpus
        self.more_bytes = more_bytes
        self.asked: list[str] = []

    def __call__(self, model: Path, runtimes: Sequence[Runtime]) -> list[MemoryUsage | Refused]:
        name = self.by_size[model.stat().st_size]
        self.asked.append(name)
        facts = self.headers[name].facts
        return [self._more(estimate(facts, runtime, self.gpus)) for runtime in runtimes]

    def _more(self, usage: MemoryUsage) -> MemoryUsage:
        first, *rest = usage.devices
        more = replace(first, weights_bytes=first.weights_bytes + self.more_bytes)
        return replace(usage, devices=(more, *rest))


def fitted(
    headers: dict[str, Headers],
    on: Machine,
    monkeypatch: pytest.MonkeyPatch,
    more_bytes: int = 0,
    asked: str | None = None,
    **wanted: object,
) -> tuple[Fit, list[str]]:
    """The fit on a machine that counts as this one, and which files llama.cpp was shown."""
    children = Children(headers, on.gpu_names, more_bytes)
    monkeypatch.setattr(gauge, "dry_run", children)
    candidates = Candidates(ModelSpec("m", HubFile("o/m")), headers, asked)
    wish = Wanted(**wanted)  # type: ignore[arg-type]
    return fit_model(candidates, wish, replace(on, imagined=False)), children.asked


@pytest.mark.parametrize("on", [machine(), machine(24), machine(12, 12)], ids=str)
def test_one_child_answers_for_all_quantizations_and_contexts(
    headers: dict[str, Headers], on: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, asked = fitted(headers, replace(on, imagined=False), monkeypatch)
    assert fit.picked is not None
    split = len(on.gpus) > 1  # shares are known only once it is placed
    assert asked == [fit.picked.quantization] * (3 if split else 1)
    assert len({plan.runtime.context_tokens for plan in fit.others}) > 1


def test_one_child_answers_for_a_quantization_that_was_named(
    headers: dict[str, Headers], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, asked = fitted(headers, machine(), monkeypatch, asked="Q2_K")
    assert (fit.shown.quantization, asked) == ("Q2_K", ["Q2_K"])


def test_what_is_shown_is_what_llama_cpp_counts_for_that_file(
    headers: dict[str, Headers], monkeypatch: pytest.MonkeyPatch
) -> None:
    more = 123 << 20
    fit, _ = fitted(headers, machine(), monkeypatch, more)
    by_hand = estimate(fit.shown.facts, fit.shown.runtime)
    assert fit.shown.usage.weights_bytes == by_hand.weights_bytes + more


def test_where_the_count_is_another_one_than_the_formula_the_pick_gives_way(
    headers: dict[str, Headers], monkeypatch: pytest.MonkeyPatch
) -> None:
    on = machine(ram_gib=7)
    fit, asked = fitted(headers, on, monkeypatch)
    assert (fit.shown.quantization, asked) == ("Q4_K_M", ["Q4_K_M"])
    fit, asked = fitted(headers, on, monkeypatch, more_bytes=1 << 30)
    assert fit.picked is not None
    assert fit.picked.quantization == "Q2_K"
    assert asked == ["Q4_K_M"]


def test_a_quantization_that_cannot_be_loaded_is_told_when_it_was_named(
    headers: dict[str, Headers], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {**headers, "Q8_0": ModelUnusable("shards are missing")}
    with pytest.raises(ModelUnusable, match="shards are missing"):
        fitted(broken, machine(), monkeypatch, asked="Q8_0")  # type: ignore[arg-type]
