"""`localserve fit`: what fits this machine, or another one, before anything is downloaded."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Annotated

import typer
from rich.markup import escape

from localserve.catalog.candidates import Candidates, find_candidates
from localserve.catalog.draft import read_draft
from localserve.catalog.headers import Headers
from localserve.catalog.registry import Registry, load_registry
from localserve.cli.fit_table import print_catalog, print_fit
from localserve.cli.model_names import models_known
from localserve.cli.options import (
    AsJson,
    CacheTypeK,
    CacheTypeV,
    Config,
    ContextAsUp,
    CpuMoeLayers,
    GpuLayers,
    Offline,
    Parallel,
)
from localserve.cli.terminal import errors, print_error, size_text
from localserve.config import Settings, read_settings
from localserve.errors import LocalserveError, ModelUnusable, NotDownloaded, UsageInvalid
from localserve.planner.bandwidth import Bandwidth, measure_bandwidth
from localserve.planner.companions import Companion, draft_for, projector_of
from localserve.planner.document import catalog_document, fit_document
from localserve.planner.fit import fit_model, rank_catalog
from localserve.planner.hardware import Hardware, probe
from localserve.planner.learned import lessons
from localserve.planner.machine import imagined, machine_of
from localserve.planner.plan import wanted_of
from localserve.planner.programs import big_programs
from localserve.planner.sizes import parse_size, parse_sizes

EXAMPLES = """
Nothing of the weights is downloaded: a model's header tells what it takes, llama.cpp itself
counts it, and the speed follows from the measured bandwidth. Options are constraints; what they
leave free is planned. Without a name, the models of the catalog are ranked, offline.

What `up` loads is counted, with the smaller model that guesses (--draft, or where models.toml names
it). It loads no projector (mmproj) yet: that counts with --mmproj, or where models.toml names it.

--gpu and --ram ask about another machine: one with just these GPUs (none without --gpu) and so
much RAM (as much as this one without --ram), all of it free, as quick as usual. GB are powers of
ten, GiB of two.

Examples:

  localserve fit                              what of the catalog fits

  localserve fit qwen3-8b                     a name of models.toml, or what is on this disk

  localserve fit unsloth/Qwen3-8B-GGUF        every quantization of a repository

  localserve fit unsloth/Qwen3-8B-GGUF:Q4_K_M --ctx 32768 --cache-type-k q8_0

  localserve fit ~/some.gguf --gpu 24GiB,12GiB --ram 64GiB

  localserve fit unsloth/gemma-3-12b-it-GGUF --mmproj   with its projector, for images

  localserve fit qwen3-8b --draft qwen3-0.6b

  localserve fit qwen3-8b --json | jq '{fits, quantization, memory, runtime}'

Exit status: 0 it fits (without a name: something does), 1 it does not, 2 an error or wrong usage.
"""


def fit(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="REPO[:QUANT]|URL|PATH|NAME",
            help="What to plan for.",
            autocompletion=models_known,
        ),
    ] = None,
    config: Config = None,
    ctx: ContextAsUp = None,
    parallel: Parallel = None,
    cache_type_k: CacheTypeK = None,
    cache_type_v: CacheTypeV = None,
    gpu_layers: GpuLayers = None,
    cpu_moe_layers: CpuMoeLayers = None,
    gpu: Annotated[
        str | None, typer.Option(metavar="SIZE[,SIZE]", help="Ask about a machine with such GPUs.")
    ] = None,
    ram: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Ask about a machine with so much RAM.")
    ] = None,
    mmproj: Annotated[
        bool,
        typer.Option("--mmproj", help="With the projector for images or sound beside the model."),
    ] = False,
    draft: Annotated[
        str | None,
        typer.Option(metavar="FILE|NAME", help="With this smaller model to guess for it."),
    ] = None,
    offline: Offline = False,
    as_json: AsJson = False,
) -> None:
    options = {
        "config_file": config,
        "context_tokens": ctx,
        "parallel": parallel,
        "cache_type_k": cache_type_k,
        "cache_type_v": cache_type_v,
        "gpu_layers": gpu_layers,
        "cpu_moe_layers": cpu_moe_layers,
        "offline": offline or None,
    }
    try:
        settings = read_settings(options)
        question = Question(model, gpu, ram, mmproj, draft)
        fits = _answer(question, settings, as_json)
    except LocalserveError as error:
        print_error(error)
        if as_json:
            told = {"code": error.code, "message": error.message, "hint": error.hint}
            typer.echo(json.dumps({"error": told}, indent=2))
        raise typer.Exit(2) from error
    raise typer.Exit(0 if fits else 1)


fit.__doc__ = f"Tell what fits this machine, how fast it will be, and why.\n{EXAMPLES}"


@dataclass(frozen=True, slots=True)
class Question:
    """What was typed: a model, another machine's sizes, and what is to lie beside the model."""

    model: str | None
    gpu: str | None
    ram: str | None
    projector: bool
    draft: str | None


def _answer(question: Question, settings: Settings, as_json: bool) -> bool:
    """Print the answer; whether it fits."""
    gpu, ram, model = question.gpu, question.ram, question.model
    gpu_bytes = parse_sizes(gpu, "--gpu") if gpu is not None else ()
    ram_bytes = parse_size(ram, "--ram") if ram is not None else None
    if model is None and (question.projector or question.draft is not None):
        raise UsageInvalid(
            "--mmproj and --draft are about one model.", hint="Name it: `localserve fit NAME`."
        )
    registry = load_registry(settings)
    wanted = wanted_of(settings)
    with errors.status("looking at the hardware") as status:
        say = status.update
        with ThreadPoolExecutor(1) as other:
            looking = other.submit(probe, settings)
            candidates, ranked = _asked(question, registry, settings, say)
            companions = _companions(candidates, question, registry, settings)
            hardware = looking.result()
        if gpu is None and ram is None:
            measured = _measured(hardware, settings, say)
            machine = machine_of(hardware, measured, big_programs())
        else:
            machine = imagined(gpu_bytes, ram_bytes or hardware.memory.usable_bytes)
        if candidates is None:
            say("planning")
            plans = rank_catalog(ranked, wanted, machine, lessons(settings))
        else:
            say(f"planning {escape(candidates.spec.name)}")
            wanted = replace(wanted, companions=companions)
            found = fit_model(candidates, wanted, machine, lessons(settings))
    if candidates is None:
        if as_json:
            typer.echo(json.dumps(catalog_document(plans, machine), indent=2))
        else:
            print_catalog(plans, machine)
        return any(plan.fits for plan in plans)
    if as_json:
        typer.echo(json.dumps(fit_document(found, machine), indent=2))
    else:
        print_fit(found, machine)
    return found.picked is not None


def _asked(
    question: Question, registry: Registry, settings: Settings, say: Callable[[str], None]
) -> tuple[Candidates | None, Registry]:
    """The headers to plan from; None where the catalog's own numbers must do, and of which models.

    Those serve for a model of the catalog that is not here while the network is off.
    """
    model = question.model
    if model is None:
        return None, registry
    read = 0

    def progress(count: int) -> None:
        nonlocal read
        read += count
        say(f"reading headers: {size_text(read)}")

    try:
        found = find_candidates(model, registry, settings, progress, projector=question.projector)
        if question.projector and found.projector is None:
            raise ModelUnusable(
                f"There is no projector (mmproj) beside {found.spec.name!r}.",
                hint='Leave --mmproj away, or name its file in models.toml: mmproj = "FILE".',
            )
        return found, registry
    except NotDownloaded:
        entry = registry.find(model)
        beside = question.projector or question.draft is not None  # of which it has no numbers
        if beside or entry is None or entry.shape is None or not entry.quantizations:
            raise
        return None, Registry((entry,))


def _companions(
    candidates: Candidates | None, question: Question, registry: Registry, settings: Settings
) -> tuple[Companion, ...]:
    """What is to have room beside the model. Raises: UnknownModel, ModelUnusable."""
    if candidates is None:
        return ()
    found = []
    if candidates.projector is not None and candidates.projector.facts is not None:
        found.append(projector_of(candidates.projector.facts))
    named = question.draft or candidates.spec.draft
    model = next((one for one in candidates.found.values() if isinstance(one, Headers)), None)
    if named is not None and model is not None:
        found.append(draft_for(read_draft(named, registry, settings), model.facts))
    return tuple(found)


def _measured(hardware: Hardware, settings: Settings, say: Callable[[str], None]) -> Bandwidth:
    return measure_bandwidth(
        hardware,
        settings,
        progress=lambda device: say(f"measuring the bandwidth of {escape(device)}, once"),
    )
