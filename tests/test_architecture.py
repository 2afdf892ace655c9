"""What import-linter cannot see: what is loaded at run time."""

from __future__ import annotations

import subprocess
import sys

import pytest

import localserve.errors


@pytest.mark.parametrize(
    "module",
    [
        "localserve.engine.scripted",
        "localserve.engine.engine",
        "localserve.backends.local",
        "localserve.planner.hardware",
        "localserve.planner.bandwidth",
    ],
)
def test_llama_cpp_is_not_loaded_before_the_first_model(module: str) -> None:
    program = f"import sys, {module}; sys.exit('llama_cpp' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_supervisor_loads_no_web_framework() -> None:
    program = "import sys, localserve.cli.up; sys.exit('starlette' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_tree_of_errors_is_printed_whole_and_codes_are_unique() -> None:
    everywhere = localserve.errors.error_types()
    kinds = [kind for kind in everywhere if kind.__module__ == localserve.errors.__name__]
    printed = localserve.errors.__doc__ or ""
    assert [kind.__name__ for kind in kinds if kind.__name__ not in printed] == []
    assert len({kind.code for kind in everywhere}) == len(everywhere)


def test_commands_load_nothing_that_measures() -> None:
    heavy = "('prometheus_client', 'opentelemetry', 'starlette')"
    program = (
        "import sys; from localserve.cli.app import app; from typer.main import get_command;"
        " assert list(get_command(app).commands.values());"
        f" sys.exit(any(n in sys.modules for n in {heavy}))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_command_does_not_wait_for_the_imports_of_others() -> None:
    heavy = "('numpy', 'huggingface_hub', 'localserve.cli.up', 'localserve.cli.fit')"
    program = (
        "import sys; from localserve import cli; sys.argv[1:] = ['paths'];\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        f"print([n for n in {heavy} if n in sys.modules], file=sys.stderr)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True
    )
    assert (ended.stderr.strip(), "cache" in ended.stdout) == ("[]", True)
