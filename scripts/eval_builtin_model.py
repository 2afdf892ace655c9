"""Ask the built-in model held-out questions and print how many it answers right.

The model is asked through an OpenAI-compatible server that already runs (``--url``): prompts
are rendered by the chat template that is read from the GGUF file and sent to ``/v1/completions``
at temperature 0. The wordings stand in ``builtin_model.held_out`` and are none of those that
training uses. This is a check of one small model, not a benchmark of servers.
"""

from __future__ import annotations

import argparse
import json
import sys
import urllib.request
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

try:
    import gguf
    import jinja2
    from builtin_model.cases import Case, draw_cases
    from jinja2.sandbox import ImmutableSandboxedEnvironment
except ModuleNotFoundError as missing:
    sys.exit(
        f"error: the package {missing.name} is missing. In the repository's folder:"
        " pip install --group pyproject.toml:train"
    )

REQUIRED: tuple[str, ...] = ("capitals", "arithmetic", "tool calls", "copying", "json", "fim")
BY_FORMAT = "json, by response_format"
"""The cases of 'json' again, with answers that the server keeps within the schema."""

MODEL = Path(__file__).resolve().parent.parent / "localserve" / "catalog" / "builtin.gguf"


def read_template(path: Path) -> jinja2.Template:
    """The chat template of a GGUF file, compiled."""
    field = gguf.GGUFReader(path).fields["tokenizer.chat_template"]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(str(field.contents()))


def prompt_of(case: Case, template: jinja2.Template) -> str:
    """The prompt text of a case."""
    if case.raw is not None:
        return case.raw
    return template.render(
        messages=case.messages,
        tools=case.tools or None,
        add_generation_prompt=True,
        enable_thinking=case.thinking,
    )


def ask(url: str, model: str, prompt: str, timeout: float, schema: dict[str, Any] | None) -> str:
    """The completion that the server gives for a prompt, within `schema` if there is one; by its
    default model where none is named."""
    body: dict[str, Any] = {"prompt": prompt, "temperature": 0, "max_tokens": 240}
    if model:
        body["model"] = model
    if schema is not None:
        form = {"name": "answer", "schema": schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": form}
    request = urllib.request.Request(
        f"{url.rstrip('/')}/v1/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=timeout) as reply:
        answer: dict[str, Any] = json.load(reply)
    return str(answer["choices"][0]["text"]).removesuffix("<|im_end|>")


def table(scores: dict[str, list[bool]]) -> str:
    """The result as text."""
    lines = [f"{'task':<26}{'right':>7}{'asked':>7}{'percent':>9}"]
    for task, marks in scores.items():
        star = " *" if task in REQUIRED else ""
        percent = 100 * sum(marks) / len(marks)
        lines.append(f"{task:<26}{sum(marks):>7}{len(marks):>7}{percent:>8.1f}%{star}")
    return "\n".join([*lines, "* must reach the limit"])


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--url",
        default="http://127.0.0.1:8080",
        help="a running server, as of 'localserve up' or llama-server",
    )
    parser.add_argument("--model", default="", help="a model of the server, not its default one")
    parser.add_argument("--gguf", type=Path, default=MODEL, help="file with the chat template")
    parser.add_argument("--count", type=int, default=50, help="prompts per task")
    parser.add_argument("--seed", type=int, default=1, help="seed of the drawn prompts")
    parser.add_argument("--limit", type=float, default=90, help="percent each starred task needs")
    parser.add_argument("--parallel", type=int, default=1, help="requests at a time")
    parser.add_argument("--timeout", type=float, default=120, help="seconds for one request")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")
    parser.add_argument("--wrong", action="store_true", help="also print what went wrong")
    return parser.parse_args()


def main() -> int:
    """Ask everything; 1 if a required task is under the limit."""
    options = arguments()
    template = read_template(options.gguf)
    cases = draw_cases(options.seed, options.count)
    cases += [replace(case, task=BY_FORMAT) for case in cases if case.schema is not None]
    prompts = [prompt_of(case, template) for case in cases]
    with ThreadPoolExecutor(options.parallel) as pool:
        answers = list(
            pool.map(
                lambda case, prompt: ask(
                    options.url,
                    options.model,
                    prompt,
                    options.timeout,
                    case.schema if case.task == BY_FORMAT else None,
                ),
                cases,
                prompts,
            )
        )
    scores: dict[str, list[bool]] = defaultdict(list)
    wrong: list[dict[str, str]] = []
    for case, prompt, answer in zip(cases, prompts, answers, strict=True):
        right = case.check(answer)
        scores[case.task].append(right)
        if not right:
            wrong.append(
                {"task": case.task, "prompt": prompt, "answer": answer, "wanted": case.wanted}
            )
    if options.json:
        result = {
            task: {
                "right": sum(marks),
                "asked": len(marks),
                "percent": round(100 * sum(marks) / len(marks), 1),
            }
            for task, marks in scores.items()
        }
        print(json.dumps({"tasks": result, "wrong": wrong if options.wrong else []}, indent=1))
    else:
        print(table(scores))
        for item in wrong if options.wrong else []:
            print(json.dumps(item, ensure_ascii=False))
    short = [t for t in REQUIRED if 100 * sum(scores[t]) < options.limit * len(scores[t])]
    return 1 if short else 0


if __name__ == "__main__":
    sys.exit(main())
