"""The commands as a group: help and imports."""

from __future__ import annotations

import subprocess
import sys

from localserve.cli.app import COMMANDS, _import_command
from tests.cli.conftest import Run


def test_the_list_of_commands_says_what_each_says_of_itself() -> None:
    own = {name: _import_command(name).get_short_help_str(1000) for name in COMMANDS}
    assert {name: command.help for name, command in COMMANDS.items()} == own


def test_help_lists_every_command(run: Run) -> None:
    out = run("--help").out
    assert [name for name in COMMANDS if f"\n  {name} " not in out] == []


def test_help_and_version_import_no_command_and_no_library_of_models() -> None:
    heavy = "('numpy', 'llama_cpp', 'httpx2', 'huggingface_hub')"
    for option in ("--help", "--version"):
        program = (
            f"import sys; from localserve import cli; sys.argv[1:] = ['{option}'];\n"
            "try: cli.main()\n"
            "except SystemExit: pass\n"
            f"print([n for n in sys.modules if n in {heavy}"
            " or n.startswith('localserve.cli.') and n.count('.') == 2"
            " and n not in ('localserve.cli.app', 'localserve.cli.terminal')],"
            " file=sys.stderr)"
        )
        ended = subprocess.run(
            [sys.executable, "-c", program], check=False, capture_output=True, text=True
        )
        assert (ended.stderr.strip(), bool(ended.stdout)) == ("[]", True)
