"""How things look: colours only on a terminal, sizes and times for people."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any, Final, Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from localserve.errors import LocalserveError

PIPE_WIDTH: Final = 1000

console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


class Writable(Protocol):
    """What a stream must be able to do."""

    def write(self, text: str, /) -> int: ...

    def flush(self) -> None: ...


class Lasting:
    """A text stream that passes over what cannot be written (a full disk, a closed terminal)."""

    def __init__(self, stream: Writable) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        self.empties()

    def empties(self) -> bool:
        """Flush; whether everything that was written got out."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            return False
        return True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def outlast_output() -> tuple[Lasting, Lasting]:
    """From now on no failed write to stdout or stderr ends this process; the two streams."""
    out, err = Lasting(sys.stdout), Lasting(sys.stderr)
    sys.stdout, sys.stderr = out, err
    return out, err


def is_terminal(stream: Any) -> bool:
    """Whether somebody sits there; a closed stream is none."""
    try:
        return bool(stream.isatty())
    except (AttributeError, OSError, ValueError):
        return False


def print_error(error: LocalserveError) -> None:
    """What is wrong, and on a line of its own what to do."""
    errors.print("[bold red]error[/]", end=" ")
    errors.print(plain(error.message))
    if error.hint:
        errors.print(plain(f"      {error.hint}"))


def plain(text: str) -> Text:
    """Text of others (names, paths), in which no markup and no control character counts."""
    return Text("".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text))


def path_text(path: Path) -> str:
    """A path as people write it: the home folder is ~."""
    home = Path.home()
    return str(Path("~") / path.relative_to(home)) if path.is_relative_to(home) else str(path)


def print_table(table: Table) -> None:
    """A table as wide as the terminal; where there is none, lines are not broken."""
    wide = console if console.is_terminal else Console(highlight=False, width=PIPE_WIDTH)
    wide.print(table)


def size_text(size_bytes: int) -> str:
    """Such as '3.2 MB' or '18.4 GB' (powers of ten)."""
    if size_bytes < 1e6:
        return f"{size_bytes / 1e3:.0f} kB"
    if size_bytes < 1e9:
        return f"{size_bytes / 1e6:.{0 if size_bytes >= 1e8 else 1}f} MB"
    return f"{size_bytes / 1e9:.1f} GB"


def count_text(count: int) -> str:
    """Such as '596 M' or '30.5 B'."""
    if count < 1e6:
        return f"{count / 1e3:.0f} k"
    if count < 1e9:
        return f"{count / 1e6:.{0 if count >= 1e8 else 1}f} M"
    return f"{count / 1e9:.1f} B"
