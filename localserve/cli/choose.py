"""What `localserve up` serves: the named model, else the most sensible one on this disk."""

from __future__ import annotations

from localserve.catalog.downloaded import find_downloaded, to_spec
from localserve.catalog.locate import find_model
from localserve.catalog.registry import BUILTIN_NAME, Registry
from localserve.catalog.spec import ModelSpec
from localserve.cli.download import find_or_download
from localserve.cli.terminal import console, errors, plain, size_text
from localserve.config import Settings
from localserve.planner.default import Choice, choose_default

MAX_LINES = 5
"""So many models and files that were passed over are named in lines of their own."""


def choose_model(
    named: str | None, registry: Registry, settings: Settings
) -> tuple[ModelSpec, ModelSpec | None]:
    """The model to serve, and the one to serve if it cannot be loaded.

    A model that the user named, by argument or by setting, has no such other.
    Raises: UnknownModel, ModelUnusable.
    """
    text = named or settings.model
    if text is not None:
        if not named:
            _say(f"serving {text}, as {settings.sources['model']} says")
        return find_or_download(text, registry, settings), None
    builtin = find_model(None, registry, settings)
    findings = find_downloaded(registry, settings)
    choice = choose_default(findings.models, registry, settings)
    _explain(choice, findings.notes)
    if choice.found is None:
        return builtin, None
    return to_spec(choice.found, registry), builtin


def _explain(choice: Choice, notes: tuple[str, ...]) -> None:
    lines = (*notes, *choice.skipped)
    for line in lines[:MAX_LINES]:
        errors.print(plain(line), style="yellow")
    if (more := len(lines) - MAX_LINES) > 0:
        errors.print(f"{more} more are skipped: see localserve list", style="yellow")
    if choice.found is None:
        _say(f"serving {BUILTIN_NAME}, {choice.why}")
        _say("a larger one: localserve up NAME; localserve list --all has the names")
        return
    size = size_text(choice.found.size_bytes)
    _say(f"serving {choice.found.name} ({size}), {choice.why}")
    _say(
        "another one: localserve up NAME (localserve list has the names), or LOCALSERVE_MODEL=NAME;"
        f" the built-in one: localserve up {BUILTIN_NAME}"
    )


def _say(text: str) -> None:
    console.print(plain(text))
