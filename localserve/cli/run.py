"""`localserve run`: talk to a model on the terminal, or have one question answered."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from typing import Annotated, Any

import typer

from localserve.cli import INTERRUPTED
from localserve.cli.chat_screen import ChatScreen, counts_text, show_answer
from localserve.cli.dialogue import Dialogue
from localserve.cli.model_names import models_here
from localserve.cli.own_server import server_for
from localserve.cli.reach import Port, ask
from localserve.cli.terminal import console, errors
from localserve.config import Settings, read_settings
from localserve.errors import InvalidRequest
from localserve.server.running import RunningServer

EXAMPLES = """
Uses the running server, which loads the model if need be. If none runs, one is started for as long
as it is needed; it serves what `localserve up` would.

With a prompt, or with text on stdin, it answers once and ends: the answer goes to stdout, all else
to stderr. Otherwise it is a conversation; /help tells its commands. Ctrl-C stops an answer, Ctrl-D
ends.

Examples:

  localserve run                        talk to the default model

  localserve run qwen3-8b               talk to this one

  localserve run qwen3-8b "Why is the sky blue?"

  git diff | localserve run qwen3-8b "Write a commit message for this."

  echo "What is 3 plus 4?" | localserve run --json | jq -r .answer

Exit status: 0 answered or ended, 1 failed, 2 wrong usage, 130 after Ctrl-C in a single answer.
"""


def run(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A name that `list` shows [the server's default].",
            autocompletion=models_here,
        ),
    ] = None,
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="Answer this and end.")
    ] = None,
    system: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What the model is told beforehand.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Longest answer [the context's rest].")
    ] = None,
    port: Port = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one answer as a JSON object.")
    ] = False,
) -> None:
    settings = read_settings()
    text = _whole_prompt(prompt, settings)
    if text is None and (as_json or not sys.stdout.isatty()):
        raise typer.BadParameter("There is no prompt: give one as an argument or on stdin.")
    try:
        with server_for(model, settings, port) as server:
            dialogue = Dialogue(server, model, system, max_tokens)
            if text is None:
                ChatScreen(dialogue, lambda: _context_tokens(server, model)).run()
            else:
                _answer_once(dialogue, text, as_json)
    except KeyboardInterrupt:
        errors.print("stopped", style="dim")
        raise typer.Exit(INTERRUPTED) from None


run.__doc__ = f"Talk to a model.\n{EXAMPLES}"


def _whole_prompt(prompt: str | None, settings: Settings) -> str | None:
    """The argument, and behind it what comes on stdin; None where neither says anything.

    Raises: InvalidRequest.
    """
    if sys.stdin.isatty():
        return prompt
    content = sys.stdin.buffer.read(settings.max_body_bytes + 1)
    if len(content) > settings.max_body_bytes:
        raise InvalidRequest(f"stdin has more than {settings.max_body_bytes} bytes.")
    try:
        piped = content.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"stdin is not text in UTF-8: byte {error.start} is {content[error.start]:#04x}."
        ) from None
    parts = [part for part in (prompt, piped) if part is not None and part.strip()]
    return "\n\n".join(parts) or None


def _answer_once(dialogue: Dialogue, text: str, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(_document(dialogue, text), indent=2))
        return
    if console.is_terminal:
        show_answer(dialogue, text)
    else:
        with closing(dialogue.answer(text)) as pieces:
            for piece in pieces:
                if not piece.reasoning:
                    typer.echo(piece.text, nl=False)
        typer.echo()
    if dialogue.last is not None and (errors.is_terminal or dialogue.last.finish_reason != "stop"):
        errors.print(counts_text(dialogue.last), style="dim")


def _document(dialogue: Dialogue, text: str) -> dict[str, Any]:
    pieces = list(dialogue.answer(text))
    counts = dialogue.last
    return {
        "model": counts.model if counts else dialogue.model,
        "answer": "".join(piece.text for piece in pieces if not piece.reasoning),
        "reasoning": "".join(piece.text for piece in pieces if piece.reasoning) or None,
        "finish_reason": counts.finish_reason if counts else None,
        "prompt_tokens": counts.prompt_tokens if counts else None,
        "cached_tokens": counts.cached_tokens if counts else None,
        "answer_tokens": counts.answer_tokens if counts else None,
        "prompt_ms": counts.prompt_ms if counts else None,
        "tokens_per_second": counts.tokens_per_second if counts else None,
    }


def _context_tokens(server: RunningServer, model: str | None) -> int | None:
    """The context of the model, once it is loaded."""
    document = ask(server, "GET", "/admin/models")
    wanted = (model or document["default"]).casefold()
    for one in document["models"]:
        if wanted in {name.casefold() for name in (one["id"], *one["aliases"])}:
            tokens: int | None = one["context_tokens"]
            return tokens
    return None
