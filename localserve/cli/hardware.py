"""`localserve hardware`: what this machine has for models, and how fast it is."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from localserve.cli.options import AsJson, Config
from localserve.cli.terminal import (
    console,
    errors,
    path_text,
    plain,
    print_table,
)
from localserve.config import read_settings
from localserve.planner.bandwidth import Bandwidth, measure_bandwidth
from localserve.planner.hardware import Hardware, probe
from localserve.planner.notices import Notice
from localserve.planner.sizes import memory_text

EXAMPLES = """
Memory bandwidth is measured the first time, for some seconds per device, and kept; --refresh
measures it again. It is the rate of reading weights, as for each token of an answer; 'compute' is
the rate of large products of Q4_K weights, as for a prompt.

With --json, amounts are in bytes, bytes per second and floating-point operations per second, and
every key is always there (null where something is not known).

Examples:

  localserve hardware

  localserve hardware --refresh     after a change of memory or cooling

  localserve hardware --json | jq '.devices[] | {name, free_bytes}'

  localserve hardware --json | jq -r '.notices[].command // empty'

Exit status: 0 done (also with notices), 1 a configuration file is wrong, 2 wrong usage.
"""

PROMPT_TYPES = ("Q4_K", "Q8_0", "F16")
"""The types whose speed is shown: the first of them that was measured."""


def hardware(
    config: Config = None,
    refresh: Annotated[
        bool, typer.Option("--refresh", help="Measure bandwidth again, although it is known.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    settings = read_settings({"config_file": config})
    with errors.status("looking at the hardware") as status:
        found = probe(settings)
        measured = measure_bandwidth(
            found,
            settings,
            refresh=refresh,
            progress=lambda device: status.update(f"measuring the bandwidth of {escape(device)}"),
        )
    if as_json:
        typer.echo(json.dumps(document(found, measured), indent=2))
    else:
        _print(found, measured)


hardware.__doc__ = f"Show what models have here, and measure how fast it is.\n{EXAMPLES}"


def document(found: Hardware, measured: Bandwidth) -> dict[str, object]:
    """What `--json` prints: the fields of `Hardware`, what follows from them, and `Bandwidth`."""
    return {
        **dataclasses.asdict(found),
        "gpus": [gpu.name for gpu in found.gpus],
        "free_bytes": found.free_bytes,
        "bandwidth": dataclasses.asdict(measured),
    }


def _print(found: Hardware, measured: Bandwidth) -> None:
    facts = Table(box=None, pad_edge=False, show_header=False)
    facts.add_column(no_wrap=True, style="bold")
    facts.add_column(overflow="fold")
    for name, text in _facts(found):
        facts.add_row(name, plain(text))
    print_table(facts)
    console.print()
    print_table(_device_table(found, measured))
    for line in _users(found):
        console.print(plain(line))
    notices = [*found.notices, *(Notice("info", problem) for problem in measured.problems)]
    for notice in notices:
        console.print()
        console.print(f"[{_STYLES[notice.level]}]{notice.level}[/]", end=" ")
        console.print(plain(notice.message))
        if notice.command:
            console.print(plain(f"  {notice.command}"))
        if notice.prebuilt:
            console.print(plain(f"or, without compiling:\n  {notice.prebuilt}"))


_STYLES = {"warning": "bold yellow", "info": "bold blue"}


def _facts(found: Hardware) -> Iterator[tuple[str, str]]:
    container = f", in a container ({found.container})" if found.container else ""
    yield "system", f"{found.system} {found.architecture}{container}"
    yield "processor", found.processor.name
    yield "", _cores(found)
    if found.processor.features:
        yield "", " ".join(found.processor.features)
    yield "memory", _memory(found)
    if found.memory.swap_total_bytes:
        free, total = found.memory.swap_free_bytes, found.memory.swap_total_bytes
        yield "swap", f"{memory_text(free)} free of {memory_text(total)}"
    yield "disk", _disk(found)
    if found.llama_cpp.version:
        built_for = ", ".join(found.llama_cpp.backends)
        yield "llama.cpp", f"llama-cpp-python {found.llama_cpp.version}, built for {built_for}"
    if found.nvml.driver_version:
        cuda = f", CUDA {found.nvml.cuda_version}" if found.nvml.cuda_version else ""
        yield "NVIDIA", f"driver {found.nvml.driver_version}{cuda}"


def _cores(found: Hardware) -> str:
    processor = found.processor
    text = f"{_count(processor.cores, 'core')}, {_count(processor.threads, 'thread')}"
    if processor.performance_cores is not None and processor.efficiency_cores is not None:
        text += f" ({processor.performance_cores} fast, {processor.efficiency_cores} efficient)"
    if processor.usable_cores < processor.cores:
        quota = f" (a quota of {processor.quota:g})" if processor.quota is not None else ""
        text += f"; {_count(processor.usable_cores, 'core')} may be used here{quota}"
    return text


def _memory(found: Hardware) -> str:
    memory = found.memory
    text = f"{memory_text(memory.available_bytes)} available of {memory_text(memory.total_bytes)}"
    if memory.cgroup is not None:
        limit, used = memory.cgroup.limit_bytes, memory.cgroup.used_bytes
        text += f"; limited to {memory_text(limit)}, {memory_text(used)} of it in use"
    if found.model_ram_bytes is not None:
        text += f"; models may take {memory_text(found.model_ram_bytes)}"
    return text


def _disk(found: Hardware) -> str:
    disk = found.disk
    folder = path_text(Path(disk.path))
    if disk.free_bytes is None or disk.total_bytes is None:
        return f"unknown, for {folder}"
    free, total = memory_text(disk.free_bytes), memory_text(disk.total_bytes)
    return f"{free} free of {total}, for {folder}"


def _device_table(found: Hardware, measured: Bandwidth) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("device", no_wrap=True)
    table.add_column("", overflow="fold")
    for title in ("free", "total", "bandwidth", "compute"):
        table.add_column(title, no_wrap=True, justify="right")
    for device in found.devices:
        rate = measured.devices.get(device.name)
        of_the_host = " (the host's memory)" if device.unified else ""
        table.add_row(
            plain(device.name),
            plain(device.description + of_the_host),
            memory_text(device.free_bytes) if device.total_bytes else "",
            memory_text(device.total_bytes) if device.total_bytes else "",
            f"{rate / 1e9:.1f} GB/s" if rate else "",
            _compute(measured, device.name),
        )
    return table


def _compute(measured: Bandwidth, device: str) -> str:
    types = measured.throughput.get(device, {})
    for name in PROMPT_TYPES:
        rate = types[name].prompt_flops_per_second if name in types else None
        if rate:
            return f"{rate / 1e12:.2f} TFLOP/s" if rate >= 1e11 else f"{rate / 1e9:.1f} GFLOP/s"
    return ""


def _users(found: Hardware) -> Iterator[str]:
    """Which programs have memory on the GPUs."""
    for device in found.devices:
        for process in device.processes:
            size = memory_text(process.used_bytes) if process.used_bytes else "an unknown amount"
            name = process.name or "a program whose name is hidden"
            yield f"{device.name}: {size} used by {name} (process {process.pid})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
