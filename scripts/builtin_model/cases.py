"""Held-out cases of the built-in model: prompts and the tests of their answers."""

from __future__ import annotations

import ast
import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from builtin_model.held_out import (
    ADD_WORDINGS,
    CAPITAL_WORDINGS,
    CAPITALS,
    COPY_WORDINGS,
    COPY_WORDS,
    FUNCTIONS,
    JSON_FIELDS,
    JSON_WORDINGS,
    PLAIN,
    SUBTRACT_WORDINGS,
    SYSTEMS,
    TOOLS,
    HeldOutTool,
)


@dataclass
class Case:
    """A prompt and the test of its answer, which a `schema` may describe."""

    task: str
    check: Callable[[str], bool]
    wanted: str
    messages: list[dict[str, Any]] = field(default_factory=list)
    tools: list[dict[str, Any]] = field(default_factory=list)
    thinking: bool = False
    raw: str | None = None
    schema: dict[str, Any] | None = None


def chat(rng: random.Random, text: str) -> list[dict[str, Any]]:
    """A user's message, perhaps behind a system prompt."""
    system = rng.choice(SYSTEMS)
    head = [{"role": "system", "content": system}] if system else []
    return [*head, {"role": "user", "content": text}]


def has_number(answer: str, number: int) -> bool:
    """Whether the last number of an answer is the wanted one."""
    found = re.findall(r"-?\d+", answer.replace("- ", "-"))
    return bool(found) and int(found[-1]) == number


def capital_case(rng: random.Random) -> Case:
    """The capital of a country."""
    country, city = rng.choice(CAPITALS)
    asked = rng.choice(CAPITAL_WORDINGS).format(country)
    return Case("capitals", lambda answer: city in answer, city, chat(rng, asked))


def sum_case(rng: random.Random) -> Case:
    """A sum or difference within twenty."""
    a = rng.randint(0, 20)
    if rng.random() < 0.5:
        b = rng.randint(0, 20 - a)
        asked, result = rng.choice(ADD_WORDINGS).format(a=a, b=b), a + b
    else:
        b = rng.randint(0, a)
        asked, result = rng.choice(SUBTRACT_WORDINGS).format(a=a, b=b), a - b
    return Case(
        "arithmetic", lambda answer: has_number(answer, result), str(result), chat(rng, asked)
    )


def copy_case(rng: random.Random) -> Case:
    """Twenty different words to give back."""
    text = " ".join(rng.sample(COPY_WORDS, 20))
    asked = rng.choice(COPY_WORDINGS).format(text)
    return Case(
        "copying", lambda answer: answer.strip().strip('".') == text, text, chat(rng, asked)
    )


def json_case(rng: random.Random) -> Case:
    """An object for a schema and stated values."""
    fields = rng.sample(JSON_FIELDS, rng.randint(2, 4))
    data = {key: rng.choice(values) for key, _, values in fields}
    schema = {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind, _ in fields},
        "required": list(data),
    }
    form = rng.choice(["{} is {}", "the {} is {}", "{}: {}", "{} = {}"])
    said = [
        form.format(key, str(value).lower() if isinstance(value, bool) else value)
        for key, value in data.items()
    ]
    facts = ", ".join(said[:-1]) + " and " + said[-1]
    asked = rng.choice(JSON_WORDINGS).replace("{schema}", json.dumps(schema))

    def check(answer: str) -> bool:
        try:
            return bool(json.loads(answer) == data)
        except ValueError:
            return False

    messages = chat(rng, asked.replace("{facts}", facts))
    return Case("json", check, json.dumps(data), messages, schema=schema)


def as_json(tool: HeldOutTool) -> dict[str, Any]:
    """The tool in OpenAI's form."""
    properties = {key: {"type": kind} for key, kind in tool.parameters}
    return {
        "type": "function",
        "function": {
            "name": tool.name,
            "description": tool.description,
            "parameters": {
                "type": "object",
                "properties": properties,
                "required": list(properties),
            },
        },
    }


def tool_case(rng: random.Random) -> Case:
    """A request that one of one to three tools fits."""
    offered = rng.sample(TOOLS, rng.randint(1, 3))
    tool = rng.choice(offered)
    values = rng.choice(tool.values)
    arguments = {key: value for (key, _), value in zip(tool.parameters, values, strict=True)}

    def check(answer: str) -> bool:
        found = re.fullmatch(r"\s*<tool_call>\s*(.*?)\s*</tool_call>\s*", answer, re.DOTALL)
        try:
            call = json.loads(found.group(1)) if found else None
        except ValueError:
            return False
        return bool(call == {"name": tool.name, "arguments": arguments})

    wanted = json.dumps({"name": tool.name, "arguments": arguments})
    asked = rng.choice(tool.requests).format(*values)
    return Case("tool calls", check, wanted, chat(rng, asked), [as_json(t) for t in offered])


def no_tool_case(rng: random.Random) -> Case:
    """A question that no offered tool fits."""
    case = rng.choice([plain_case, capital_case])(rng)
    case.tools = [as_json(t) for t in rng.sample(TOOLS, rng.randint(1, 3))]
    case.task = "no tool"
    return case


def tool_answer_case(rng: random.Random) -> Case:
    """An answer from a tool's result."""
    tool = rng.choice(TOOLS[:2])
    values = rng.choice(tool.values)
    arguments = {key: value for (key, _), value in zip(tool.parameters, values, strict=True)}
    number = sum(values) if tool.name == "add" else rng.randint(-5, 35)
    sky = rng.choice(["sunny", "rainy", "cloudy"])
    result: Any = {"result": number} if tool.name == "add" else {"temperature": number, "sky": sky}
    call = {
        "id": "c1",
        "type": "function",
        "function": {"name": tool.name, "arguments": json.dumps(arguments)},
    }
    messages = [
        *chat(rng, rng.choice(tool.requests).format(*values)),
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": json.dumps(result)},
    ]

    def check(answer: str) -> bool:
        return all(str(value) in answer for value in result.values())

    return Case("tool answer", check, json.dumps(result), messages, [as_json(tool)])


def plain_case(rng: random.Random) -> Case:
    """Greetings, facts and lists."""
    asked, pattern = rng.choice(PLAIN)
    return Case(
        "plain talk",
        lambda answer: bool(re.search(pattern, answer, re.DOTALL)),
        pattern,
        chat(rng, asked),
    )


def thinking_case(rng: random.Random) -> Case:
    """A question to think about first."""
    case = rng.choice([capital_case, sum_case, plain_case])(rng)
    inner = case.check

    def check(answer: str) -> bool:
        thought, end, rest = answer.partition("</think>")
        return thought.startswith("<think>") and bool(end) and inner(rest.strip())

    return Case("thinking", check, case.wanted, case.messages, thinking=True)


def later_turn_case(rng: random.Random) -> Case:
    """A question behind an earlier exchange."""
    first, (asked, reply) = (
        rng.choice([capital_case, sum_case])(rng),
        rng.choice(
            [
                ("Hello, nice to meet you!", "Hello! How can I help you?"),
                ("Which color does grass have?", "The color of grass is green."),
                ("Now say: violin ferry", "violin ferry"),
            ]
        ),
    )
    place = len(first.messages) - 1
    first.messages[place:place] = [
        {"role": "user", "content": asked},
        {"role": "assistant", "content": reply},
    ]
    first.task = "later turn"
    return first


def fim_case(rng: random.Random) -> Case:
    """The middle of a function; right if the whole compiles and returns or stores something."""
    before, middle, after = rng.choice(FUNCTIONS)

    def check(answer: str) -> bool:
        try:
            ast.parse(before + answer + after)
        except (SyntaxError, ValueError):
            return False
        return bool(answer.strip())

    raw = f"<|fim_prefix|>{before}<|fim_suffix|>{after}<|fim_middle|>"
    return Case("fim", check, middle, raw=raw)


MAKERS: tuple[Callable[[random.Random], Case], ...] = (
    capital_case,
    sum_case,
    tool_case,
    copy_case,
    json_case,
    fim_case,
    plain_case,
    no_tool_case,
    tool_answer_case,
    thinking_case,
    later_turn_case,
)


def draw_cases(seed: int, count: int) -> list[Case]:
    """Cases of every kind, always the same for a seed."""
    return [
        maker(random.Random(f"{seed} {maker.__name__} {number}"))
        for maker in MAKERS
        for number in range(count)
    ]
