"""`localserve keys`: make, list, rotate and revoke API keys."""

from __future__ import annotations

import json
import time
from typing import Annotated

import typer
from rich.table import Table

from localserve.chat import Priority
from localserve.cli.options import AsJson
from localserve.cli.terminal import console, errors, plain, print_table
from localserve.config import Settings, read_settings
from localserve.gateway.expiry import duration_seconds, expiry_seconds
from localserve.gateway.exposure import is_loopback
from localserve.gateway.keys import SCOPES, IssuedKey, Key, KeyScope, key_document, time_text
from localserve.gateway.store import key_store

KEYS_HELP = """Make, list, rotate and revoke API keys.

While there is none, this machine needs none. As soon as there is one, every request needs one, and
a server may listen on other addresses than 127.0.0.1. Running servers see changes in a second.
"""

CREATE_EXAMPLES = """
The key is printed once, alone on stdout, and kept as a hash only. Clients send it as
`Authorization: Bearer KEY`, `x-api-key: KEY` or `api-key: KEY`.

Examples:

  localserve keys create laptop

  localserve keys create ci --expires 30d --models qwen3-8b,localserve-tiny

  localserve keys create guest --rpm 20 --tpm 10000

  localserve keys create indexer --priority background     others go first

  localserve keys create boss --scope admin     may also load and unload

  export OPENAI_API_KEY=$(localserve keys create editor)

Exit status: 0 made, 1 not made, 2 wrong usage.
"""

LIST_EXAMPLES = """
Examples:

  localserve keys list

  localserve keys list --all                    revoked ones too

  localserve keys list --json | jq -r '.keys[] | select(.state == "expired").name'

Exit status: 0 done (also with an empty list), 1 the keys cannot be read, 2 wrong usage.
"""

ROTATE_EXAMPLES = """
The new key is printed once. The old one stays valid for the grace time, so that clients can be
changed one by one.

Examples:

  localserve keys rotate laptop

  localserve keys rotate laptop --grace 0       the old one ends now

Exit status: 0 rotated, 1 there is no such key, 2 wrong usage.
"""

REVOKE_EXAMPLES = """
Answers that are running go on; every further request is refused.

Examples:

  localserve keys revoke laptop

Exit status: 0 revoked, 1 there is no such key, 2 wrong usage.
"""

Name = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is; shown in the log.")]

keys = typer.Typer(
    name="keys",
    help=KEYS_HELP,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)


def create(
    name: Name,
    scope: Annotated[
        str,
        typer.Option(
            metavar="SCOPE",
            help="inference: ask models; admin: also change the server; monitor: only /metrics.",
        ),
    ] = "inference",
    models: Annotated[
        list[str] | None,
        typer.Option(metavar="NAMES", help="Models it is for, separated by commas [all]."),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="30d, 12h, 2027-01-31 [never]."),
    ] = None,
    rpm: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Requests per minute [the server's limit]."),
    ] = None,
    tpm: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Tokens per minute [the server's limit]."),
    ] = None,
    priority: Annotated[
        str | None,
        typer.Option(
            metavar="LEVEL",
            help="interactive, chat or background, where a request does not say [by its kind].",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    now = time.time()
    settings = read_settings()
    issued = key_store(settings).create(
        name,
        now=now,
        scope=_scope(scope),
        models=_split(models or []),
        expires_at=expiry_seconds(expires, now) if expires else None,
        requests_per_minute=rpm,
        tokens_per_minute=tpm,
        priority=_priority(priority),
    )
    _print_issued(issued, now, as_json)
    if not as_json:
        errors.print("Keep it: it is not shown again. Every request needs a key now.")


create.__doc__ = f"Make an API key.\n{CREATE_EXAMPLES}"


def list_keys(
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that were revoked.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    now = time.time()
    settings = read_settings()
    found = [key for key in key_store(settings).read() if everything or key.revoked_at is None]
    if as_json:
        typer.echo(json.dumps({"keys": [key_document(key, now) for key in found]}, indent=2))
    elif found:
        print_table(_table(found, now))
    else:
        console.print("There is no key. `localserve keys create NAME` makes one.")


list_keys.__doc__ = f"List the API keys, without their secrets.\n{LIST_EXAMPLES}"


def rotate(
    name: Name,
    grace: Annotated[
        str, typer.Option(metavar="TIME", help="How long the old one stays valid.")
    ] = "24h",
    as_json: AsJson = False,
) -> None:
    now = time.time()
    seconds = duration_seconds(grace, "grace")
    issued = key_store(read_settings()).rotate(name, now=now, grace_seconds=seconds)
    _print_issued(issued, now, as_json)
    if not as_json:
        until = (
            f"stays valid until {time_text(now + seconds)}" if seconds else "is not valid any more"
        )
        errors.print(plain(f"Keep it: it is not shown again. The old one {until}."))


rotate.__doc__ = f"Give an API key a new secret.\n{ROTATE_EXAMPLES}"


def revoke(name: Name, as_json: AsJson = False) -> None:
    now = time.time()
    settings = read_settings()
    store = key_store(settings)
    key = store.revoke(name, now=now)
    if as_json:
        typer.echo(json.dumps(key_document(key, now), indent=2))
        return
    console.print(plain(f"{name} is revoked"))
    if all(one.revoked_at is not None for one in store.read()):
        console.print(plain(_without_keys(settings)))


revoke.__doc__ = f"End an API key.\n{REVOKE_EXAMPLES}"

keys.command("create")(create)
keys.command("list")(list_keys)
keys.command("rotate")(rotate)
keys.command("revoke")(revoke)


def _without_keys(settings: Settings) -> str:
    if settings.api_key is not None:
        return "No key is left but LOCALSERVE_API_KEY."
    if is_loopback(settings.host):
        return "No key is left: programs of this machine need none now."
    return f"No key is left: nobody can ask {settings.host} anything now."


def _scope(text: str) -> KeyScope:
    for scope in SCOPES:
        if text == scope:
            return scope
    raise typer.BadParameter(f"{text!r} is neither {' nor '.join(SCOPES)}", param_hint="--scope")


def _priority(text: str | None) -> Priority | None:
    if text is None:
        return None
    words = {one.word: one for one in reversed(Priority)}
    if text not in words:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(words)}", param_hint="--priority")
    return words[text]


def _split(models: list[str]) -> list[str]:
    return [name for text in models for part in text.split(",") if (name := part.strip())]


def _print_issued(issued: IssuedKey, now: float, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(key_document(issued.key, now) | {"key": issued.secret}, indent=2))
    else:
        typer.echo(issued.secret)


def _limits(key: Key) -> str:
    rates = ((key.requests_per_minute, "requests"), (key.tokens_per_minute, "tokens"))
    return ", ".join(f"{rate:,} {kind}" for rate, kind in rates if rate)


def _table(found: list[Key], now: float) -> Table:
    table = Table(box=None, pad_edge=False)
    for title in (
        "name",
        "state",
        "scope",
        "begins with",
        "made",
        "expires",
        "per minute",
        "priority",
    ):
        table.add_column(title, no_wrap=True)
    table.add_column("models", overflow="fold")
    for key in found:
        state = key.state(now)
        cells = (
            key.name,
            state,
            key.scope,
            f"ls-{key.secrets[0].handle}-",
            time_text(key.created_at) or "",
            time_text(key.expires_at) or "never",
            _limits(key),
            key.priority.word if key.priority is not None else "",
            ", ".join(key.models) or "all",
        )
        table.add_row(*map(plain, cells), style=None if state == "active" else "dim")
    return table
