"""Parse recorded answers of models and hold them against what was expected.

    scripts/check_chat_cases FILE --templates DIR [--json] [--show] [--seed N]

FILE has one JSON object a line, with at least `template` (a file name in DIR), `tools`,
`generation_prompt`, `input_text` and `expected_message`. Each answer is parsed whole and in random
splits. Prints the failures by template and last `parse: P of N whole, Q of N streamed`. Exit
status: 0 all as expected, 1 some not, 2 the arguments or the file are no good.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from localserve.prompting.output.deltas import (
    ArgumentsPiece,
    CallBegun,
    ContentPiece,
    Piece,
    ReasoningPiece,
)
from localserve.prompting.output.format import OutputFormat
from localserve.prompting.output.parser import AnswerParser, Tools
from localserve.prompting.output.source import read_format
from localserve.prompting.sandbox import TemplateProcess

NEEDED = ("template", "tools", "generation_prompt", "input_text", "expected_message")
"""What each case has."""

SPLITS = 5
"""How many random splits of each answer are tried."""


@dataclass(slots=True)
class Answer:
    """A message put together again from its pieces."""

    content: str = ""
    reasoning: str = ""
    calls: list[list[str | None]] = field(default_factory=list)

    def add(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            match piece:
                case ContentPiece(text):
                    self.content += text
                case ReasoningPiece(text):
                    self.reasoning += text
                case CallBegun(_, name, id):
                    self.calls.append([id, name, ""])
                case ArgumentsPiece(index, text):
                    self.calls[index][2] = str(self.calls[index][2]) + text


def parse(format: OutputFormat, case: dict[str, Any], cuts: list[int]) -> Answer:
    """The message of a case whose text is cut at `cuts`."""
    parser = AnswerParser(
        format,
        _tools(case.get("tools")),
        reasoning_apart=case.get("reasoning_format", "auto") != "none",
    )
    answer = Answer()
    prompt, text = case.get("generation_prompt") or "", case["input_text"]
    start = prompt.partition(format.header)[2] if format.header else prompt
    answer.add(parser.feed(start, range(len(start))))
    for begin, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        piece = text[begin:end]
        answer.add(parser.feed(piece, range(len(piece))))
    if not case.get("is_partial"):
        answer.add(parser.finish())
    return answer


def differences(answer: Answer, expected: dict[str, Any]) -> list[str]:
    """What is not as expected, in words."""
    found: list[str] = []
    for name, got in (("content", answer.content), ("reasoning_content", answer.reasoning)):
        wanted = expected.get(name) or ""
        if got.strip() != wanted.strip():
            found.append(f"{name} is {got!r}, expected {wanted!r}")
    calls = [_call(call) for call in expected.get("tool_calls") or ()]
    if len(calls) != len(answer.calls):
        return [*found, f"calls are {answer.calls}, expected {calls}"]
    for (id, name, arguments), (wanted_id, wanted_name, wanted_arguments) in zip(
        answer.calls, calls, strict=True
    ):
        same = name == wanted_name and (not wanted_id or id == wanted_id)
        if not same or _plain(arguments or "") != _plain(wanted_arguments):
            wanted_call = (wanted_id, wanted_name, wanted_arguments)
            found.append(f"call is {(id, name, arguments)}, expected {wanted_call}")
    return found


def _call(call: dict[str, Any]) -> tuple[str, str, str]:
    function = call.get("function", call)
    arguments = function.get("arguments")
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return call.get("id") or "", function.get("name"), text


def _plain(arguments: str) -> object:
    try:
        return json.loads(arguments)
    except ValueError:
        return "".join(arguments.split())


def _tools(tools: Any) -> Tools:
    functions = [tool.get("function", tool) for tool in tools or ()]
    return {function["name"]: function.get("parameters") for function in functions}


def _cuts(text: str, chance: random.Random) -> list[int]:
    places = range(1, len(text))
    return sorted(chance.sample(places, chance.randint(0, len(places)))) if text[1:] else []


async def _formats(names: set[str], folder: Path) -> dict[str, OutputFormat]:
    templates = TemplateProcess()
    try:
        return {
            name: (await read_format(templates, (folder / name).read_text("utf-8"))).format
            for name in sorted(names)
        }
    finally:
        await templates.close()


def _read_cases(path: Path) -> list[dict[str, Any]]:
    """Raises: OSError; ValueError, which names the line and what is wrong with it."""
    cases: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            case = json.loads(line)
            missing = [name for name in NEEDED if name not in case]
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        if missing:
            raise ValueError(f"{path}, line {number}: there is no {missing[0]!r}")
        cases.append(case)
    return cases


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="check_chat_cases", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("file", type=Path, metavar="FILE", help="cases, one JSON object a line")
    parser.add_argument(
        "--templates", type=Path, required=True, metavar="DIR", help="where the templates lie"
    )
    parser.add_argument("--seed", type=int, default=7, help="of the random splits (default: 7)")
    parser.add_argument("--show", action="store_true", help="show the inputs of failures too")
    parser.add_argument("--json", action="store_true", help="the result as one JSON object")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = _arguments(arguments)
    try:
        cases = _read_cases(options.file)
        formats = asyncio.run(_formats({case["template"] for case in cases}, options.templates))
    except (OSError, ValueError) as error:
        print(f"check_chat_cases: {error}", file=sys.stderr)
        return 2
    chance = random.Random(options.seed)
    failures: dict[str, list[str]] = defaultdict(list)
    whole = streamed = 0
    for number, case in enumerate(cases):
        format = formats[case["template"]]
        wrong = differences(parse(format, case, []), case["expected_message"])
        split_wrong: list[str] = []
        for _ in range(SPLITS):
            cuts = _cuts(case["input_text"], chance)
            split_wrong = split_wrong or differences(
                parse(format, case, cuts), case["expected_message"]
            )
        whole += not wrong
        streamed += not split_wrong
        for line in wrong or [f"streamed: {line}" for line in split_wrong]:
            shown = f"\n      from {case['input_text']!r}" if options.show else ""
            failures[case["template"]].append(f"{case.get('id', number)}: {line}{shown}")
    return _report(options, len(cases), whole, streamed, failures)


def _report(
    options: argparse.Namespace,
    count: int,
    whole: int,
    streamed: int,
    failures: dict[str, list[str]],
) -> int:
    if options.json:
        result = {"cases": count, "whole": whole, "streamed": streamed, "failures": failures}
        print(json.dumps(result))
    else:
        for template, lines in sorted(failures.items()):
            print(template)
            for line in lines:
                print(f"  {line}")
        print(f"parse: {whole} of {count} whole, {streamed} of {count} streamed")
    return 0 if whole == streamed == count else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
