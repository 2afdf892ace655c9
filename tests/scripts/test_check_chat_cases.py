"""The score of recorded answers, on a few made for it."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType

import pytest

from tests.prompting.output.small_templates import TEMPLATES
from tests.scripts.conftest import SCRIPTS

CALL = '<tool_call>\n{"name": "look", "arguments": {"at": 1}}\n</tool_call>'
CASE = {
    "template": "objects.jinja",
    "tools": [{"type": "function", "function": {"name": "look"}}],
    "generation_prompt": "<|im_start|>assistant\n",
    "input_text": f"I look. {CALL}",
    "expected_message": {
        "role": "assistant",
        "content": "I look.",
        "tool_calls": [{"name": "look", "arguments": '{"at":1}'}],
    },
}


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module("check_chat_cases")


def arguments(folder: Path, *cases: object) -> list[str]:
    """Cases in a file, beside their template."""
    (folder / "objects.jinja").write_text(TEMPLATES["objects"], encoding="utf-8")
    (folder / "cases.jsonl").write_text("\n".join(map(json.dumps, cases)), encoding="utf-8")
    return [str(folder / "cases.jsonl"), "--templates", str(folder)]


def test_cases_that_are_parsed_as_expected_are_counted(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thinking = CASE | {
        "generation_prompt": "<|im_start|>assistant\n<think>\n",
        "input_text": "So.</think>Yes.",
        "expected_message": {"content": "Yes.", "reasoning_content": "So."},
    }
    assert program.main(arguments(tmp_path, CASE, thinking)) == 0
    assert capsys.readouterr().out == "parse: 2 of 2 whole, 2 of 2 streamed\n"


def test_failures_are_told_by_template(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = CASE | {"id": "x1", "expected_message": {"content": "You look."}}
    assert program.main(arguments(tmp_path, CASE, wrong)) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "objects.jinja"
    assert lines[1].startswith("  x1: content is 'I look.', expected 'You look.'")
    assert lines[-1] == "parse: 1 of 2 whole, 1 of 2 streamed"


def test_the_result_can_be_read_by_a_program(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main([*arguments(tmp_path, CASE), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result == {"cases": 1, "whole": 1, "streamed": 1, "failures": {}}


@pytest.mark.parametrize(
    "text", ["{", "[]", "7", '{"tools": []}', json.dumps(CASE | {"template": "missing.jinja"})]
)
def test_a_file_that_is_no_good_is_told_in_one_line(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    command = arguments(tmp_path, CASE)
    Path(command[0]).write_text(text, encoding="utf-8")
    assert program.main(command) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
