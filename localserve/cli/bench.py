"""`localserve bench`: load on a running server, and whether it held what was promised."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from typing import Annotated

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from localserve.cli import INTERRUPTED
from localserve.cli.bench_report import bench_document, notes, step_table, users_text
from localserve.cli.options import AsJson
from localserve.cli.reach import Port, find_server
from localserve.cli.terminal import console, errors, plain, print_error, print_table
from localserve.config import Settings, read_settings
from localserve.errors import InvalidRequest, LocalserveError
from localserve.loadtest.client import Load, load_client, parse_url
from localserve.loadtest.figures import StepFigures
from localserve.loadtest.slo import parse_slo
from localserve.loadtest.step import parse_users, run_step, warm_up

BROKEN = 1
FAILED = 2

EXAMPLES = """
Users ask one question after another, each as soon as its last answer is there; step by step there
are more of them. Told are the median, the 95th and the 99th percentile of the time to the first
token (ttft), between two tokens (itl) and of a whole answer (total), tokens a second of all users,
errors, and from how many users on more gain nothing. Every prompt is new to the server.

Objectives of --slo, each at most (times in seconds), are p50, p95 or p99 of _ttft, _itl and _total,
and error_rate (from 0 to 1); tokens_per_second is at least. Each must hold in every step.

Examples:

  localserve bench                      1, 2, 4 and 8 users, 15 seconds each

  localserve bench --slo p95_ttft=0.5,error_rate=0.01 --users 4

  localserve bench --model qwen3-8b --prompt-words 1000 --max-tokens 128

  localserve bench --url http://10.0.0.5:8000 --model llama --users 1,16,64

  localserve bench --slo p99_itl=0.1 --json | jq .slo.held_up_to_users

Exit status: 0 measured, and every objective held; 1 one was broken; 2 nothing could be measured, or
wrong usage; 130 after Ctrl-C, which tells what was measured.
"""


def bench(
    slo: Annotated[
        str | None, typer.Option(metavar="NAME=BOUND,...", help="What is promised.")
    ] = None,
    url: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Another server than the one that runs here; its key is LOCALSERVE_API_KEY.",
        ),
    ] = None,
    users: Annotated[
        str, typer.Option(metavar="N,...", help="Users at once, a number for each step.")
    ] = "1,2,4,8",
    seconds: Annotated[
        float, typer.Option(metavar="N", min=0.1, max=86_400, help="How long a step lasts.")
    ] = 15.0,
    model: Annotated[
        str | None, typer.Option(metavar="NAME", help="The model [the server's default].")
    ] = None,
    prompt_words: Annotated[
        int, typer.Option(metavar="N", min=1, max=1_000_000, help="Length of the prompts.")
    ] = 100,
    max_tokens: Annotated[
        int, typer.Option(metavar="N", min=2, max=1_000_000, help="Length of the answers.")
    ] = 64,
    port: Port = None,
    as_json: AsJson = False,
) -> None:
    if math.isnan(seconds):
        raise typer.BadParameter("'nan' is no time.", param_hint="--seconds")
    steps: list[StepFigures] = []
    interrupted = False
    try:
        objectives = parse_slo(slo) if slo is not None else ()
        counts = parse_users(users)
        address, key, checked = _target(url, port, read_settings())
        load = Load(address, key, model, prompt_words, max_tokens, checked)
        try:
            asyncio.run(_measure(load, counts, seconds, steps))
        except KeyboardInterrupt:
            interrupted = True
    except LocalserveError as error:
        print_error(error)
        raise typer.Exit(FAILED) from None
    if as_json:
        typer.echo(json.dumps(bench_document(load, seconds, steps, objectives), indent=2))
    elif steps:
        print_table(step_table(steps))
        for note in notes(steps, objectives):
            console.print(plain(note))
    if interrupted:
        errors.print("stopped", style="dim")
        raise typer.Exit(INTERRUPTED)
    if not all(objective.holds(step) for objective in objectives for step in steps):
        raise typer.Exit(BROKEN)


bench.__doc__ = f"Measure a running server under load.\n{EXAMPLES}"


def _target(url: str | None, port: int | None, settings: Settings) -> tuple[str, str | None, bool]:
    """The address, the key, and whether the certificate must be for that name.

    Raises: NoServer, InvalidRequest.
    """
    if url is None:
        server = find_server(settings, port)
        return server.url, server.owner_key, False
    if port is not None:
        raise InvalidRequest(
            f"--url {url} and --port {port} say two servers.", hint="Leave one of them out."
        )
    return parse_url(url), settings.api_key, True


async def _measure(
    load: Load, counts: tuple[int, ...], seconds: float, steps: list[StepFigures]
) -> None:
    """All steps, each added to `steps` as soon as it is measured. Raises: LoadTestFailed."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:.0f} %"))
    progress = Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal)
    with progress:
        bar = progress.add_task("loading the model", total=len(counts) * seconds)
        async with load_client(load) as client:
            await warm_up(client)
            for number, users in enumerate(counts):
                progress.update(bar, description=users_text(users))
                tell = _teller(progress, bar, number * seconds, seconds)
                steps.append(await run_step(client, users, seconds, tell))


def _teller(progress: Progress, bar: TaskID, before: float, most: float) -> Callable[[float], None]:
    """Moves the bar through one step; answers that outlast it move it no further."""
    return lambda elapsed: progress.update(bar, completed=before + min(elapsed, most))
