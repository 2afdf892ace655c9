"""`localserve pull`: download a model, checked before and after."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from localserve.catalog.finders.record import OWNERS, FoundModel
from localserve.catalog.registry import load_registry
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.catalog.wanted import find_here, parse_wanted
from localserve.cli.download import Fetched, Options, fetch, people_view
from localserve.cli.model_names import models_known
from localserve.cli.options import Config
from localserve.cli.progress import Json, emit, plan_document
from localserve.cli.terminal import console, path_text, plain, size_text
from localserve.config import Settings, read_settings
from localserve.errors import LocalserveError

EXAMPLES = """
First it looks at the file list and the model's header, a few MB, and says what will come, whether
this llama.cpp can load it, and whether the disk and the memory suffice; a model that cannot run
here is asked about, or needs --yes. Of several quantizations it takes the best that fits wholly on
the GPU, else Q4_K_M or the nearest that fits.

A download that was cut, by whatever, goes on where it ended with the same command. Checksums are
compared. A model that another program has on this disk is used where it is. HF_TOKEN, HF_ENDPOINT
and the variables for proxies (HTTPS_PROXY, NO_PROXY) count.

With --json, one object a line, told apart by "event": plan, progress (bytes, bytes per second,
seconds left), note; the last one is result ("status" is downloaded or present, "path" the file to
serve), error or interrupted.

Examples:

  localserve pull qwen3-8b                      a name of models.toml

  localserve pull qwen3-8b:Q8_0                 in a quantization of your choice

  localserve pull Qwen/Qwen3-8B-GGUF:Q8_0       a repository of the hub

  localserve pull https://example.org/m.gguf    a file; of a split model any shard

  localserve pull qwen3-8b --json | jq -r 'select(.event == "result").path'

Exit status: 0 the model is on this disk, 1 it is not, 2 wrong usage, 130 ended by Ctrl-C.
"""


def pull(
    model: Annotated[
        str,
        typer.Argument(
            metavar="NAME|REPO[:QUANT]|URL", help="What to download.", autocompletion=models_known
        ),
    ],
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Download it even if it cannot run here.")
    ] = False,
    copy: Annotated[
        bool, typer.Option("--copy", help="Download it even if another program has it here.")
    ] = False,
    no_mmproj: Annotated[
        bool, typer.Option("--no-mmproj", help="Without the projector for images or sound.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Only say whether it is on this disk.")
    ] = False,
    config: Config = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object a line.")] = False,
) -> None:
    try:
        settings = read_settings({"config_file": config, "offline": offline or None})
        again = f"localserve pull {shlex.quote(model)}"
        options = Options(again, yes=yes, copy=copy, projector=not no_mmproj)
        _pull(model, settings, options, as_json)
    except LocalserveError as error:
        if as_json:
            emit("error", code=error.code, message=error.message, hint=error.hint)
        raise


pull.__doc__ = f"Download a model.\n{EXAMPLES}"


def _pull(text: str, settings: Settings, options: Options, as_json: bool) -> None:
    registry = load_registry(settings)
    wanted = parse_wanted(text, registry, settings)
    if isinstance(wanted, ModelSpec):
        return _say_local(wanted, as_json)
    view = Json() if as_json else people_view()
    here = None if options.copy else find_here(wanted, registry, settings)
    found = here or fetch(wanted, registry, settings, options, view)
    if isinstance(found, FoundModel):
        return _say_present(found, as_json)
    name = wanted.entry.name if wanted.entry is not None else found.proposal.package.name
    return _say_downloaded(found, name, as_json)


def _say_local(spec: ModelSpec, as_json: bool) -> None:
    """A model of models.toml whose file is given there."""
    assert isinstance(spec.source, LocalFile)
    if as_json:
        emit("result", status="present", name=spec.name, path=str(spec.source.path))
    else:
        console.print(plain(f"{spec.name} is a file of this machine: {spec.source.path}"))


def _say_present(found: FoundModel, as_json: bool) -> None:
    if as_json:
        emit(
            "result",
            status="present",
            name=found.name,
            path=str(found.path),
            files=list(map(str, found.files)),
            size_bytes=found.size_bytes,
            quantization=found.quantization,
            source=found.source,
        )
        return
    where = f"{path_text(found.path)} ({OWNERS[found.source]})"
    console.print(plain(f"{found.name} is on this disk already: {where}"))
    console.print(plain(f"serve it: localserve up {shlex.quote(found.full_name)}"))
    if found.source != "localserve":
        console.print("download a copy for localserve: the same command with --copy")


def _say_downloaded(fetched: Fetched, name: str, as_json: bool) -> None:
    package = fetched.proposal.package
    if as_json:
        plan = plan_document(fetched.proposal) | {"name": name}
        files = [str(package.place_of(file)) for file in package.all_files]
        emit("result", **plan | {"files": files}, status="downloaded", path=str(fetched.path))
        return
    size = size_text(package.size_bytes)
    console.print(plain(f"{package.name} is here ({size}): {path_text(fetched.path)}"))
    console.print(plain(f"serve it: localserve up {shlex.quote(name)}"))
