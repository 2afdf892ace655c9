"""How things look: colours only on a terminal, sizes and times for people."""

from __future__ import annotations

import sys

from rich.console import Console

from localserve.errors import LocalserveError

PLAIN_COLUMNS = 200
"""Width of tables that go to no terminal: nothing in them is cut or wrapped."""


def is_terminal() -> bool:
    return sys.stdout.isatty()


console = Console(highlight=False, soft_wrap=True, width=None if is_terminal() else PLAIN_COLUMNS)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def print_error(error: LocalserveError) -> None:
    """What is wrong, and on a line of its own what to do."""
    errors.print("[bold red]error[/]", end=" ")
    errors.print(error.message, markup=False)
    if error.hint:
        errors.print(f"      {error.hint}", markup=False)


def size_text(size_bytes: int) -> str:
    """Such as '3.2 MB' or '18.4 GB' (powers of ten)."""
    if size_bytes < 1e6:
        return f"{size_bytes / 1e3:.0f} kB"
    if size_bytes < 1e9:
        return f"{size_bytes / 1e6:.{0 if size_bytes >= 1e8 else 1}f} MB"
    return f"{size_bytes / 1e9:.1f} GB"


def memory_text(size_bytes: int) -> str:
    """Such as '512 MiB' or '23.5 GiB' (powers of two)."""
    if size_bytes < 1 << 30:
        return f"{size_bytes / 2**20:.0f} MiB"
    return f"{size_bytes / 2**30:.1f} GiB"


def count_text(count: int) -> str:
    """Such as '596 M' or '30.5 B'."""
    if count < 1e6:
        return f"{count / 1e3:.0f} k"
    if count < 1e9:
        return f"{count / 1e6:.{0 if count >= 1e8 else 1}f} M"
    return f"{count / 1e9:.1f} B"
