"""Shells complete command lines: bash really does, the others' scripts are asked as they ask."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from localserve.cli.model_names import models_here, models_known
from localserve.config import Settings
from tests.cli.conftest import Run


@pytest.fixture
def program(tmp_path: Path, settings: Settings) -> str:
    """`localserve` as a program on a PATH of its own."""
    path = tmp_path / "bin" / "localserve"
    path.parent.mkdir()
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m localserve "$@"\n')
    path.chmod(0o755)
    return f"{path.parent}:{os.environ['PATH']}"


def complete_in_bash(path: str, *words: str) -> list[str]:
    """What bash offers for the last of the words."""
    line = " ".join(shlex.quote(word) for word in words)
    script = (
        'eval "$(localserve completion bash)"\n'
        f"COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}\n"
        f"COMP_LINE={shlex.quote(' '.join(words))}; COMP_POINT=${{#COMP_LINE}}\n"
        'function=$(complete -p localserve | sed "s/.*-F \\([^ ]*\\).*/\\1/")\n'
        '"$function" localserve\n'
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    ended = subprocess.run(
        ["bash", "--norc", "-c", script],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert ended.stderr == ""
    return ended.stdout.split()


needs_bash = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")


@needs_bash
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("localserve", "st"), ["status", "stop"]),
        (("localserve", "--ver"), ["--version"]),
        (("localserve", "up", "--pa"), ["--parallel"]),
        (("localserve", "service", ""), ["install", "uninstall", "status", "start", "stop"]),
        (("localserve", "keys", "create", "--sc"), ["--scope"]),
        (("localserve", "completion", ""), ["bash", "zsh", "fish"]),
        (("localserve", "up", "localserve-t"), ["localserve-tiny"]),
        (("localserve", "connect", "openc"), ["opencode"]),
        (("localserve", "up", "--config", "models.t"), []),  # bash offers files itself
        (("localserve", "xyz"), []),
    ],
)
def test_bash_completes(program: str, words: tuple[str, ...], expected: list[str]) -> None:
    assert complete_in_bash(program, *words) == expected


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script_that_asks_localserve(run: Run, shell: str) -> None:
    ran = run("completion", shell)
    assert (ran.status, ran.err) == (0, "")
    assert f"_LOCALSERVE_COMPLETE=complete_{shell}" in ran.out


@pytest.mark.parametrize(
    ("shell", "variables", "words"),
    [
        ("zsh", {}, ['"status":', '"stop":']),
        ("fish", {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}, ["status\t", "stop\t"]),
    ],
)
def test_other_shells_get_names_with_what_they_do(
    program: str, shell: str, variables: dict[str, str], words: list[str]
) -> None:
    asked = {"_LOCALSERVE_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": "localserve st"}
    ended = subprocess.run(
        [sys.executable, "-m", "localserve"],
        env={**os.environ, **asked, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert [word for word in words if word not in ended.stdout] == []


def test_an_unknown_shell_is_wrong_usage(run: Run) -> None:
    ran = run("completion", "tcsh")
    assert (ran.status, "'zsh'" in ran.err) == (2, True)


def test_models_are_those_of_the_disk_and_where_it_helps_those_of_the_catalog(
    settings: Settings,
) -> None:
    assert models_here("") == ["localserve-tiny"]
    assert models_here("x") == []
    known = models_known("qwen3-")
    assert "qwen3-8b" in known
    assert known == sorted(set(known))


def test_a_broken_catalog_completes_nothing_and_says_nothing(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.config_dir.mkdir(parents=True)
    (settings.config_dir / "models.toml").write_text("= nonsense")
    assert (models_here(""), models_known("")) == ([], [])
    assert capsys.readouterr() == ("", "")
