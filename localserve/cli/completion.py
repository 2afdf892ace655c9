"""`localserve completion`: what a shell needs to complete localserve's command lines."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]

from localserve.cli.app import COMPLETE_VARIABLE

EXAMPLES = """
Commands, options and names of models are completed. The shell asks localserve each time, so the
script stays good when localserve changes.

Examples:

  eval "$(localserve completion bash)"    in ~/.bashrc

  eval "$(localserve completion zsh)"     in ~/.zshrc, after compinit

  localserve completion fish > ~/.config/fish/completions/localserve.fish

Exit status: 0 printed, 2 wrong usage.
"""


class Shell(StrEnum):
    """The shells that there is a script for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(help="Which shell.", show_choices=True)],
) -> None:
    script = get_completion_script(
        prog_name="localserve", complete_var=COMPLETE_VARIABLE, shell=shell.value
    )
    typer.echo(script)


completion.__doc__ = f"Print a script that completes command lines in a shell.\n{EXAMPLES}"
