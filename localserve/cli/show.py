"""`localserve show NAME`: everything that is known of one model before it is loaded."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from localserve.catalog.downloaded import entry_of, find_downloaded
from localserve.catalog.finders.record import OWNERS, FoundModel
from localserve.catalog.locate import unknown_model
from localserve.catalog.registry import Registry, load_registry
from localserve.catalog.spec import HubFile, ModelSpec, RemoteEngine
from localserve.cli.found import found_document, match, with_builtin
from localserve.cli.list import spec_document
from localserve.cli.model_names import models_known
from localserve.cli.options import AsJson, Config
from localserve.cli.terminal import console, count_text, errors, plain, size_text
from localserve.config import Settings, read_settings
from localserve.errors import ModelUnusable
from localserve.planner.default import plan_found, this_machine
from localserve.planner.plan import Plan
from localserve.planner.sizes import memory_text
from localserve.planner.usage import RAM

EXAMPLES = """
Examples:

  localserve show qwen3-8b       a name or alias of models.toml

  localserve show llama3.2       a model that Ollama has here

  localserve show qwen3-8b --json | jq .model.path

Exit status: 0 found, 1 no such model, several could be meant, or a configuration file is wrong,
2 wrong usage.
"""


def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A name that `list` shows.", autocompletion=models_known
        ),
    ],
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    settings = read_settings({"config_file": config})
    registry = load_registry(settings)
    models = with_builtin(find_downloaded(registry, settings))
    found = match(name, models, registry)
    entry = entry_of(found, registry) if found is not None else registry.find(name)
    if found is None and entry is None:
        raise unknown_model(name, registry, models)
    plan = _plan(found, registry, settings) if found is not None else None
    if as_json:
        typer.echo(json.dumps(_document(found, entry, registry, plan), indent=2))
        return
    rows = _found_rows(found, plan) if found is not None else _elsewhere_rows(name, entry)
    rows |= _entry_rows(entry) if entry is not None else {}
    for title, text in rows.items():
        console.print(f"{title:14}", style="dim", end="")
        console.print(plain(text))


show.__doc__ = f"Show what is known of one model.\n{EXAMPLES}"


def _plan(found: FoundModel, registry: Registry, settings: Settings) -> Plan | None:
    """How it would be run; None where it cannot be."""
    try:
        return plan_found(found, registry, settings, this_machine(settings))
    except ModelUnusable as problem:
        errors.print(plain(problem.message), style="yellow")
        return None


def _document(
    found: FoundModel | None, entry: ModelSpec | None, registry: Registry, plan: Plan | None
) -> dict[str, object]:
    """Memory is that of the place that would be fullest."""
    on_disk = found is not None and not found.problem
    return {
        "model": found_document(found, registry) if found is not None else None,
        "fits": plan.fits if plan is not None else None,
        "needed_bytes": plan.tightest.needed_bytes if plan is not None else None,
        "available_bytes": plan.tightest.room_bytes if plan is not None else None,
        "catalog": spec_document(entry, on_disk) if entry is not None else None,
    }


def _found_rows(found: FoundModel, plan: Plan | None) -> dict[str, str]:
    rows = {
        "name": ", ".join([found.name, *found.aliases]),
        "belongs to": OWNERS[found.source],
        "size": f"{size_text(found.size_bytes)} ({found.size_bytes} bytes)",
        "quantization": found.quantization or "",
        "architecture": found.architecture,
        "hub": found.repo or "",
        "memory": _memory(plan) if plan is not None else "",
        "files": ("\n" + " " * 14).join(map(str, found.files)),
        "problem": found.problem,
    }
    return {title: text for title, text in rows.items() if text}


def _memory(plan: Plan) -> str:
    """What the fullest place would hold."""
    load = plan.tightest
    needed, room = memory_text(load.needed_bytes), memory_text(load.room_bytes)
    place = "RAM" if load.place == RAM else load.place
    return (
        f"{needed} of {place} with {plan.runtime.context_tokens} tokens of context, where models"
        f" may take {room} now" + ("" if plan.fits else ": it does not fit")
    )


def _elsewhere_rows(name: str, entry: ModelSpec | None) -> dict[str, str]:
    """Where a model is that has no files here."""
    if entry is None or not isinstance(entry.source, RemoteEngine):
        return {"on disk": f"no; localserve pull {name}"}
    addresses = (one.base_url for one in entry.source.replicas)
    return {
        "served by": ("\n" + " " * 14).join(addresses),
        "known there as": entry.source.model,
    }


def _entry_rows(entry: ModelSpec) -> dict[str, str]:
    sizes = [f"{name} {size_text(size)}" for name, size in entry.quantizations.items()]
    shape = entry.shape
    rows = {
        "models.toml": ", ".join(entry.names),
        "downloaded as": entry.source.repo if isinstance(entry.source, HubFile) else "",
        "offered as": ", ".join(sizes),
        "parameters": count_text(shape.parameters) if shape else "",
        "trained for": f"{shape.trained_context_tokens} tokens" if shape else "",
        "context": f"{entry.context_tokens} tokens" if entry.context_tokens else "",
    }
    return {title: text for title, text in rows.items() if text}
