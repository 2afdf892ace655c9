"""The conversation on a terminal: what is typed, the commands, the answers as they come. No command
of its own."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Final

from rich.console import Console

from localserve.cli.dialogue import Counts, Dialogue
from localserve.cli.terminal import console, errors, plain, print_error
from localserve.errors import LocalserveError

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

QUOTES: Final = '"""'

HELP: Final = """\
/help           this
/clear          forget the conversation; the system prompt stays
/system [TEXT]  what the model is told beforehand: show it, or set it and begin anew
/stats          tokens and times of the last answer, and how full the context is
/exit           end, as Ctrl-D does

Enter sends. Alt+Enter begins a new line, and so does a backslash at the end
of one; lines between \"\"\" and \"\"\" belong together, and so does what is pasted.
Ctrl-C stops an answer. A text that begins with a space is never a command."""

COMMANDS: Final = ("/help", "/clear", "/system", "/stats", "/exit")


class ChatScreen:
    """Talks until the user ends it. `context_tokens` tells the room that a conversation has, None
    where that is not known."""

    def __init__(self, dialogue: Dialogue, context_tokens: Callable[[], int | None]) -> None:
        self._dialogue = dialogue
        self._context_tokens = context_tokens
        self._session = _make_session()

    def run(self) -> None:
        """Returns when the user ends it."""
        errors.print("/help tells the commands, Ctrl-D ends.", style="dim")
        while True:
            try:
                text = self._session.prompt(">>> ")
            except KeyboardInterrupt:  # the line is given up
                errors.print("Ctrl-D ends.", style="dim")
                continue
            except EOFError:
                return
            if not (text := unquote(text)).strip():
                continue
            if text.startswith("/"):
                if not self._obey(text):
                    return
                continue
            self._answer(text)

    def _obey(self, line: str) -> bool:
        """Do what a command says; False where it ends the conversation."""
        name, _, rest = line.partition(" ")
        dialogue = self._dialogue
        match name:
            case "/exit" | "/quit" | "/bye":
                return False
            case "/help" | "/?":
                console.print(HELP, markup=False)
            case "/clear":
                dialogue.clear()
                console.print("Forgotten.", style="dim")
            case "/system" if rest.strip():
                dialogue.system = rest.strip()
                dialogue.clear()
                console.print("The conversation begins anew.", style="dim")
            case "/system":
                console.print(plain(dialogue.system or "There is no system prompt."))
            case "/stats":
                console.print(plain(self._stats()))
            case _:
                print_error(
                    LocalserveError(
                        f"There is no command {name}.", hint=f"There are {', '.join(COMMANDS)}."
                    )
                )
        return True

    def _answer(self, text: str) -> None:
        try:
            show_answer(self._dialogue, text)
        except KeyboardInterrupt:
            console.print()
            errors.print("stopped", style="dim")
        except LocalserveError as error:
            print_error(error)
        else:
            if self._dialogue.last is not None:
                errors.print(counts_text(self._dialogue.last), style="dim")

    def _stats(self) -> str:
        turns = len(self._dialogue.messages) // 2
        lines = [f"{turns} turn{'' if turns == 1 else 's'}"]
        if (last := self._dialogue.last) is not None:
            used = last.prompt_tokens + last.answer_tokens
            room = self._context_tokens()
            of = f" of {room}" if room else ""
            lines += [f"model    {last.model}", f"context  {used}{of} tokens", counts_text(last)]
        return "\n".join(lines)


def show_answer(dialogue: Dialogue, text: str) -> None:
    """Print an answer as it comes, its reasoning dimmed. Raises: LocalserveError,
    KeyboardInterrupt: then it is stopped, and what came is remembered."""
    thought = False
    with closing(dialogue.answer(text)) as pieces:
        for piece in pieces:
            if thought and not piece.reasoning:
                console.print("\n")
            thought = piece.reasoning
            _print_piece(console, piece.text, dim=piece.reasoning)
    console.print()


def _print_piece(out: Console, text: str, *, dim: bool) -> None:
    out.out(visible(text), style="dim" if dim else None, end="", highlight=False)
    out.file.flush()


def visible(text: str) -> str:
    """A model's text, in which no control character counts but those that lay out lines."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)


def counts_text(counts: Counts) -> str:
    """Such as '42 tokens, 31.5 tokens/s; prompt of 120 tokens (96 from the cache) in 0.2 s'."""
    rate = f", {counts.tokens_per_second:.1f} tokens/s" if counts.tokens_per_second else ""
    cached = f" ({counts.cached_tokens} from the cache)" if counts.cached_tokens else ""
    cut = "; cut, the limit is reached" if counts.finish_reason == "length" else ""
    return (
        f"{counts.answer_tokens} tokens{rate}; prompt of {counts.prompt_tokens} tokens{cached}"
        f" in {counts.prompt_ms / 1000:.1f} s{cut}"
    )


def unquote(text: str) -> str:
    """The text without the quotes around its lines."""
    stripped = text.strip()
    if stripped.startswith(QUOTES):
        return stripped[len(QUOTES) :].removesuffix(QUOTES).strip("\n")
    return text


def is_open(text: str) -> bool:
    """Whether more lines belong to the text."""
    stripped = text.strip()
    if stripped.startswith(QUOTES):
        return not (len(stripped) >= 2 * len(QUOTES) and stripped.endswith(QUOTES))
    return text.endswith("\\")


def _make_session() -> PromptSession[str]:
    from prompt_toolkit import PromptSession

    return PromptSession(multiline=True, key_bindings=_keys(), prompt_continuation="... ")


def _keys() -> KeyBindings:
    from prompt_toolkit.key_binding import KeyBindings

    keys = KeyBindings()

    @keys.add("enter")
    def enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if not is_open(buffer.text):
            buffer.validate_and_handle()
            return
        if buffer.text.endswith("\\"):
            buffer.delete_before_cursor()
        buffer.insert_text("\n")

    @keys.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys
