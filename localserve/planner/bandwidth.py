"""How fast this machine's devices read weights and compute prompts, measured once and kept.

Each device is measured by a child (`localserve.llama.bandwidth`), one after the other, and the
result lies in the cache folder under a key of the machine: another card, driver, build of llama.cpp
or number of threads is measured anew. Nothing raises; what fails is a line in `problems`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from localserve.config import Settings
from localserve.planner.devices import Device
from localserve.planner.hardware import Hardware
from localserve.planner.readings import Readings

BANDWIDTH_MODULE = "localserve.llama.bandwidth"
FORMAT = 3

MEASURE_SECONDS = 120.0
"""Time for one device: some drivers compile their kernels the first time."""

STREAM_BYTES = 256 << 20
"""Weights that are read per run: more than processors cache."""

LEAST_STREAM_BYTES = 32 << 20

FREE_SHARE = 4
"""At most a quarter of what is free is taken."""

QUERIES_PER_KEY = 4
"""Heads that share keys and values where attention is measured: as most models have it."""

RETRY_SECONDS = 3600.0
"""A result with problems counts for an hour: the memory may be free again, the driver mended, the
other programs done."""

BUSY = 0.25
"""More than this share of the processors in use by others makes rates too low to be believed for
long."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Throughput:
    """One type of weights on one device.

    Decoding reads `decode_bytes_per_second` of weights; a prompt of 512 tokens and more computes
    `prompt_flops_per_second` (2 per weight and token), None where only reading was measured.
    """

    decode_bytes_per_second: float
    prompt_flops_per_second: float | None


@dataclass(frozen=True, slots=True)
class StepRates:
    """What a step of one device takes besides products with weights; None where not measured.

    `operation_seconds` is the time until an operation of a graph has begun and ended that computes
    next to nothing. Operations on each element by itself move `element_bytes_per_second`. Attention
    multiplies and adds at its own rates: for one query whose keys QUERIES_PER_KEY heads share or
    (`unshared`) each head has for itself, and for a prompt of 512.
    """

    operation_seconds: float | None = None
    element_bytes_per_second: float | None = None
    decode_attention_flops_per_second: float | None = None
    unshared_attention_flops_per_second: float | None = None
    prompt_attention_flops_per_second: float | None = None


NO_STEPS = StepRates()


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """What was measured.

    `devices` has the rate of reading by llama.cpp's device names, the best of all types;
    `throughput` has each type (F32, F16, Q8_0, Q4_K ...) by device, and `steps` the rest. RAM is
    None where the CPU could not be measured. `measured_at` is in seconds since 1970, `threads` are
    those of the CPU, and `cached` says that it was not measured now.
    """

    ram_bytes_per_second: float | None
    devices: Mapping[str, float]
    throughput: Mapping[str, Mapping[str, Throughput]]
    steps: Mapping[str, StepRates]
    threads: int
    problems: tuple[str, ...]
    measured_at: float
    cached: bool


def measure_bandwidth(
    hardware: Hardware,
    settings: Settings,
    *,
    refresh: bool = False,
    readings: Readings | None = None,
    progress: Progress = lambda device: None,
) -> Bandwidth:
    """What was measured before on this machine, or else measure it now: seconds per device.

    `progress` is told each device's name before it is measured. Two processes that want it at the
    same time measure once. Blocks; not for the event loop.
    """
    readings = readings or Readings()
    threads = decode_threads(hardware, settings)
    path = _cache_path(hardware, settings, threads)
    problems: list[str] = []
    with contextlib.ExitStack() as stack:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            wait_seconds = MEASURE_SECONDS * max(1, len(_measurable(hardware)))
            stack.enter_context(FileLock(f"{path}.lock", timeout=wait_seconds))
        except (OSError, Timeout) as error:
            problems.append(f"The measurement cannot be kept in {path.parent}: {error}")
        if not refresh and (kept := _read(path)) is not None:
            return kept
        measured = _measure(hardware, threads, readings, progress)
        if not problems:
            problems += _write(path, measured)
    return replace(measured, problems=(*measured.problems, *problems))


def known_bandwidth(hardware: Hardware, settings: Settings) -> Bandwidth | None:
    """What was measured before on this machine; None if nothing was."""
    return _read(_cache_path(hardware, settings, decode_threads(hardware, settings)))


NOTHING_MEASURED = Bandwidth(None, {}, {}, {}, 0, (), 0.0, False)
"""Where measuring would take too long."""


def decode_threads(hardware: Hardware, settings: Settings) -> int:
    """The CPU threads that a model is served with."""
    return settings.threads or hardware.processor.usable_cores


def machine_key(hardware: Hardware, threads: int) -> str:
    """Names what the measurement depends on; alike for the same machine and software."""
    parts: list[object] = [
        FORMAT,
        hardware.architecture,
        hardware.llama_cpp,
        hardware.processor,
        hardware.memory.total_bytes,
        threads,
        hardware.nvml.driver_version,
        [(one.name, one.description, one.backend, one.pci_bus_id) for one in hardware.devices],
    ]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:20]


def _measurable(hardware: Hardware) -> list[Device]:
    return [one for one in hardware.devices if one.kind == "cpu" or one in hardware.gpus]


def _measure(hardware: Hardware, threads: int, readings: Readings, progress: Progress) -> Bandwidth:
    throughput: dict[str, dict[str, Throughput]] = {}
    steps: dict[str, StepRates] = {}
    problems: list[str] = []
    if (busy := readings.busy_share()) > BUSY:
        problems.append(
            f"Other programs used {busy:.0%} of the processors when speed was measured: it may be"
            f" too low, and is measured again after {RETRY_SECONDS / 3600:.0f} h"
        )
    for device in _measurable(hardware):
        stream_bytes = min(STREAM_BYTES, device.free_bytes // FREE_SHARE)
        if stream_bytes < LEAST_STREAM_BYTES:
            free = f"only {device.free_bytes / 2**20:.0f} MiB are free there"
            problems.append(f"{device.name} was not measured: {free}")
            continue
        progress(device.name)
        answer = readings.ask(
            BANDWIDTH_MODULE,
            *(device.name, str(threads), str(stream_bytes)),
            timeout_seconds=MEASURE_SECONDS,
        )
        types = _types(answer.document["types"]) if _has_types(answer.document) else {}
        if types:
            throughput[device.name] = types
            steps[device.name] = _step_rates(answer.document.get("steps"))
        else:
            reason = answer.problem or "it multiplies none of the types"
            problems.append(f"{device.name} was not measured: {reason}")
    if not hardware.devices:
        problems.append("Nothing was measured: llama.cpp lists no devices")
    return _bandwidth(hardware, throughput, steps, threads, problems)


def _bandwidth(
    hardware: Hardware,
    throughput: dict[str, dict[str, Throughput]],
    steps: dict[str, StepRates],
    threads: int,
    problems: list[str],
) -> Bandwidth:
    devices = {
        name: max(one.decode_bytes_per_second for one in types.values())
        for name, types in throughput.items()
    }
    processors = [one.name for one in hardware.devices if one.kind == "cpu"]
    ram = next((devices[name] for name in processors if name in devices), None)
    now = time.time()
    return Bandwidth(ram, devices, throughput, steps, threads, tuple(problems), now, False)


def _has_types(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("types"), dict)


def _types(document: Mapping[str, Any]) -> dict[str, Throughput]:
    """Only what is a rate: a positive, finite number."""
    found = {}
    for name, rates in document.items():
        if isinstance(rates, dict) and (decode := _rate(rates, "decode_bytes_per_second")):
            found[name] = Throughput(decode, _rate(rates, "prompt_flops_per_second"))
    return found


def _step_rates(document: Any) -> StepRates:
    if not isinstance(document, dict):
        return NO_STEPS
    return StepRates(**{one.name: _rate(document, one.name) for one in fields(StepRates)})


def _rate(rates: Mapping[str, Any], name: str) -> float | None:
    value = rates.get(name)
    if not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        return None
    return float(value)


def _cache_path(hardware: Hardware, settings: Settings, threads: int) -> Path:
    return settings.cache_dir / "bandwidth" / f"{machine_key(hardware, threads)}.json"


def _read(path: Path) -> Bandwidth | None:
    """What is kept; None if there is nothing, it is damaged, or its problems may be over."""
    try:
        document = json.loads(path.read_text("utf-8"))
        throughput = {str(name): _types(one) for name, one in document["throughput"].items()}
        steps = {str(name): _step_rates(one) for name, one in document["steps"].items()}
        ram = document["ram_bytes_per_second"]
        kept = Bandwidth(
            ram_bytes_per_second=None if ram is None else float(ram),
            devices={str(name): float(rate) for name, rate in document["devices"].items()},
            throughput=throughput,
            steps=steps,
            threads=int(document["threads"]),
            problems=tuple(str(problem) for problem in document["problems"]),
            measured_at=float(document["measured_at"]),
            cached=True,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    age_seconds = time.time() - kept.measured_at
    return None if kept.problems and not 0 <= age_seconds < RETRY_SECONDS else kept


def _write(path: Path, bandwidth: Bandwidth) -> list[str]:
    """Keep it, whole or not at all; returns what went wrong."""
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(asdict(bandwidth), file)
            os.replace(name, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(name)
            raise
    except OSError as error:
        return [f"The measurement cannot be kept in {path.parent}: {error}"]
    return []
