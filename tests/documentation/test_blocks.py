"""What README and docs show is true: blocks are run or listed, commands are ones that exist."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from localserve.catalog.registry import read_registry, shipped_registry
from localserve.catalog.routes import load_routes
from localserve.cli.app import app
from localserve.config import read_settings
from tests.documentation.blocks import Block, blocks, commands_of, is_run, shows, written_by_hand
from tests.documentation.not_run import NOT_RUN, RUN_ELSEWHERE

TOML = [block for block in blocks() if block.language == "toml" and block.key not in NOT_RUN]


def test_every_block_is_run_read_or_listed_with_a_reason() -> None:
    forgotten = [
        str(block)
        for block in blocks()
        if not is_run(block)
        and block.language != "toml"
        and block.key not in NOT_RUN
        and (block.file, block.language) not in RUN_ELSEWHERE
    ]
    assert forgotten == []


def test_the_list_has_no_block_that_is_gone_and_none_that_could_be_two() -> None:
    there = Counter(block.key for block in blocks())
    assert {key: there[key] for key in NOT_RUN if there[key] != 1} == {}
    assert {(block.file, block.language) for block in blocks()} >= RUN_ELSEWHERE.keys()
    assert all(reason.endswith(".") for reason in (*NOT_RUN.values(), *RUN_ELSEWHERE.values()))


@pytest.mark.parametrize("block", TOML, ids=str)
def test_a_models_toml_is_read(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "some.gguf").touch()
    path = tmp_path / "models.toml"
    path.write_text(block.text)
    settings = read_settings({"config_file": path}, {"LOCALSERVE_HOME": str(tmp_path)})
    read_registry(path, base=shipped_registry())
    load_routes(settings)


def commands_of_blocks() -> Iterator[tuple[str, str]]:
    for block in blocks():
        if block.language == "bash":
            for line in block.text.replace("\\\n", " ").splitlines():
                for part in re.findall(r"(?:^|[|;(&] ?|=\S+ )(localserve [^|;&)]*)", line):
                    yield str(block), part


def commands_of_prose() -> Iterator[tuple[str, str]]:
    for file, text in written_by_hand().items():
        prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
        for span in re.findall(r"`(localserve [^`]+)`", prose):
            yield file, " ".join(span.split())


@pytest.mark.parametrize(
    ("place", "line"), sorted({*commands_of_blocks(), *commands_of_prose()}), ids=str
)
def test_a_command_is_one_that_localserve_knows(place: str, line: str) -> None:
    line = re.sub(r"\b(N|P|PORT)\b", "1", line)
    words = shlex.split(line.split(" | ")[0].split(" && ")[0], comments=True)[1:]
    if words[0] in ("--version", "--help"):
        return
    command: Any = get_command(app)
    while hasattr(command, "commands") and words:
        assert words[0] in command.commands, f"{place}: {line}"
        command = command.commands[words.pop(0)]
    if "--help" in words:
        return
    try:
        command.make_context(command.name, list(words), resilient_parsing=not words)
    except Exception as error:
        # An option that ends a line has no value there; all that is said is that there is one.
        if type(error).__name__ != "BadOptionUsage" or not words[-1].startswith("--"):
            raise


def test_what_is_run_is_told_from_what_is_not() -> None:
    assert is_run(_bash("localserve ps | grep x  # pip install\nX=1 curl a && echo 'pip; b'"))
    assert is_run(_bash("X=$(printf x)"))
    for script in ("pip install x", "localserve ps && localserve up", "echo $(rm -r x)", "a=1 sh"):
        assert not is_run(_bash(script)), script
    assert list(commands_of("a b # c\nd=1 e \\\n f")) == [["a", "b"], ["e", "f"]]


def _bash(text: str) -> Block:
    return Block("page.md", 1, "bash", text)


def test_an_output_may_leave_out_what_changes_and_nothing_else() -> None:
    assert shows("a ... c\n", "a  1,000 b c\n")
    assert not shows("a ... c\n", "a b d\n")
