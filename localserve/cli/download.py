"""Getting a model that is not on this disk: what would come, the question, the download.

Shared by `pull` and `up`. No command of its own.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from localserve.catalog.download import Progress, Said, download
from localserve.catalog.downloaded import to_spec
from localserve.catalog.finders.record import FoundModel
from localserve.catalog.locate import find_model
from localserve.catalog.registry import Registry
from localserve.catalog.sources import parse_remote
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.catalog.wanted import Wanted, find_here, parse_wanted
from localserve.cli import INTERRUPTED
from localserve.cli.progress import Json, Lines, Terminal, View, emit
from localserve.cli.terminal import console, errors, plain, size_text
from localserve.config import Settings
from localserve.errors import AmbiguousName, ModelUnusable, NotDownloaded, UnknownModel
from localserve.planner.hardware import probe
from localserve.planner.pull import Proposal, propose


@dataclass(frozen=True, slots=True)
class Options:
    """What the user decided. `command` is what goes on with a download that was ended."""

    command: str
    yes: bool = False
    copy: bool = False
    projector: bool = True


@dataclass(frozen=True, slots=True)
class Fetched:
    """A model that has come: its first file, and what was known before."""

    path: Path
    proposal: Proposal


def find_or_download(text: str, registry: Registry, settings: Settings) -> ModelSpec:
    """The model that `up` was asked for, fetched if it is not on this disk.

    Raises: UnknownModel, ModelUnusable; typer.Exit, where the user ends the download.
    """
    if "://" not in text:
        try:
            return find_model(text, registry, settings)
        except AmbiguousName:
            raise
        except (NotDownloaded, UnknownModel) as error:
            nowhere = isinstance(error, UnknownModel) and parse_remote(text) is None
            if nowhere or settings.offline:
                raise
    wanted = parse_wanted(text, registry, settings)
    if isinstance(wanted, ModelSpec):
        return wanted
    here = find_here(wanted, registry, settings)
    found = here or fetch(
        wanted, registry, settings, Options(f"localserve up {text}"), people_view()
    )
    if isinstance(found, FoundModel):
        return to_spec(found, registry)
    source = LocalFile(found.path)
    if wanted.entry is not None:
        return replace(wanted.entry, source=source)
    return ModelSpec(found.proposal.package.name, source)


def people_view() -> View:
    """The view for whatever the output is."""
    return Terminal() if console.is_terminal else Lines()


def fetch(
    wanted: Wanted, registry: Registry, settings: Settings, options: Options, view: View
) -> Fetched | FoundModel:
    """Find out what would come, ask if it cannot run here, and download it.

    A model of this disk, where it is the same. Raises: ModelUnusable; typer.Exit, where the user
    refuses or presses Ctrl-C.
    """
    if settings.offline:
        raise ModelUnusable(
            f"{wanted.name} is not on this disk and cannot be downloaded: the network is not to be"
            f" used ({settings.sources['offline']}).",
            hint="Leave that away, or give the path of a .gguf file.",
        )
    done = Progress(0, 0)
    try:
        with view.looking(wanted.name):
            found = propose(
                wanted,
                registry,
                settings,
                probe(settings),
                projector=options.projector,
                copy=options.copy,
                say=view.say,
            )
        if isinstance(found, FoundModel):
            return found
        view.plan(found)
        _check_verdict(found, options, view)
        with view.progress(found) as tell:

            def count(told: Progress | Said) -> None:
                nonlocal done
                done = told if isinstance(told, Progress) else done
                tell(told)

            return Fetched(download(found.package, settings, count), found)
    except KeyboardInterrupt:
        _say_interrupted(done, options, view)
        raise typer.Exit(INTERRUPTED) from None


def _check_verdict(proposal: Proposal, options: Options, view: View) -> None:
    """Raises: ModelUnusable or typer.Exit, where the model cannot run and nobody insists."""
    if proposal.verdict.level != "too large" or options.yes:
        return
    if isinstance(view, Json) or not sys.stdin.isatty():
        raise ModelUnusable(
            f"{proposal.package.name} is not downloaded: it {proposal.verdict.text}.",
            hint="Take a smaller quantization or model, or download it all the same with"
            " `localserve pull --yes`.",
        )
    if not typer.confirm("It cannot run on this machine. Download it all the same?"):
        errors.print("Nothing is downloaded.")
        raise typer.Exit(1)


def _say_interrupted(done: Progress, options: Options, view: View) -> None:
    kept = ""
    if done.done_bytes:
        kept = f" {size_text(done.done_bytes)} of {size_text(done.total_bytes)} are kept."
    text = f"Stopped.{kept} It goes on with: {options.command}"
    if isinstance(view, Json):
        emit("interrupted", message=text, done_bytes=done.done_bytes, total_bytes=done.total_bytes)
    else:
        errors.print(plain(text))
