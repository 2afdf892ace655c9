"""Memory in words: why a model does not fit, what would, and how good a prediction was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from localserve.catalog.spec import ModelSpec
from localserve.errors import MemoryBusy, ModelTooLarge, ModelUnusable
from localserve.manager.ledger import Ledger
from localserve.manager.model import ManagedModel
from localserve.manager.need import Estimate, Need
from localserve.planner.plan import Wanted
from localserve.planner.usage import RAM, MemoryUsage

SMALLEST_ADVICE_TOKENS = 512
"""A context smaller than this is no advice."""


def size_text(size_bytes: int) -> str:
    """Such as '512 MiB' or '23.5 GiB'."""
    if size_bytes < 10 << 20:
        return f"{size_bytes / 2**20:.1f} MiB"
    if size_bytes < 1 << 30:
        return f"{size_bytes / 2**20:.0f} MiB"
    return f"{size_bytes / 2**30:.1f} GiB"


async def too_large(
    spec: ModelSpec,
    wanted: Wanted,
    need: Need,
    pinned: Sequence[ManagedModel],
    ledger: Ledger,
    estimate: Estimate,
) -> ModelTooLarge:
    """The error for a model that cannot fit, with the cheapest change that would make it."""
    held = ledger.held_by_all(model.key for model in pinned)
    lacking = ledger.lacking(need.device_bytes, held)
    advice = await _advice(spec, wanted, need, held, ledger, estimate)
    needed, held = ledger.charge(need.device_bytes), ledger.charge(held)
    there = {device: ledger.most.get(device, 0) - held.get(device, 0) for device in lacking}
    return ModelTooLarge(
        f"{spec.name!r} with a context of {need.runtime.context_tokens} tokens needs"
        f" {_amounts(needed, lacking)}; models may take {_amounts(there, lacking)}"
        f"{_besides(pinned, held, lacking)}.",
        hint=advice,
    )


def memory_busy(
    spec: ModelSpec,
    need: Need,
    busy: Sequence[ManagedModel],
    ledger: Ledger,
    waited_seconds: float,
) -> MemoryBusy:
    """The error for a load that waited too long for memory."""
    missing = ledger.missing(need.device_bytes)
    needed = ledger.charge(need.device_bytes)
    holders = ", ".join(
        f"{model.spec.name} ({size_text(sum(ledger.held_by(model.key).values()))},"
        f" {model.leases} answers)"
        for model in busy
    )
    return MemoryBusy(
        f"{spec.name!r} needs {_amounts(needed, missing)}, {_amounts(missing, missing)}"
        f" too much besides what is in use: {holders or 'other programs hold the memory'}."
        f" It waited for {waited_seconds:.0f} s.",
        retry_after_seconds=10,
        hint="Try again when they have ended, or unload one of them.",
    )


def accuracy(predicted: MemoryUsage, measured: MemoryUsage) -> str:
    """How good a prediction was, in one line."""
    error = predicted.total_bytes / max(1, measured.total_bytes) - 1
    return (
        f"{size_text(measured.total_bytes)} in use (weights {size_text(measured.weights_bytes)},"
        f" cache {size_text(measured.cache_bytes)}, compute {size_text(measured.compute_bytes)});"
        f" {size_text(predicted.total_bytes)} were predicted, {error:+.1%}"
    )


async def _advice(
    spec: ModelSpec,
    wanted: Wanted,
    need: Need,
    held: Mapping[str, int],
    ledger: Ledger,
    estimate: Estimate,
) -> str:
    context = need.runtime.context_tokens // 2
    while context >= SMALLEST_ADVICE_TOKENS:
        try:
            smaller = await estimate(spec, replace(wanted, context_tokens=context))
        except (MemoryBusy, ModelUnusable):
            break
        if not ledger.lacking(smaller.device_bytes, held):
            total = size_text(sum(smaller.device_bytes.values()))
            return f"A context of {context} tokens would fit ({total}): --ctx {context}."
        context //= 2
    if held and not ledger.lacking(need.device_bytes, {}):
        return "It would fit if the pinned models were unpinned."
    return "Not even a short context would fit: choose a smaller quantization or model."


def _besides(
    pinned: Sequence[ManagedModel], held: Mapping[str, int], lacking: Mapping[str, int]
) -> str:
    if not any(held.get(device) for device in lacking):
        return ""
    names = ", ".join(model.spec.name for model in pinned if model.backend is not None)
    return f" besides what is pinned ({names}: {_amounts(held, lacking)})"


def _amounts(sizes: Mapping[str, int], devices: Mapping[str, int]) -> str:
    return " and ".join(
        f"{size_text(max(0, sizes.get(device, 0)))} of"
        f" {'memory' if device == RAM else f'{device} memory'}"
        for device in devices
    )
