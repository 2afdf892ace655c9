"""Tools, requests that fit them and results of them, for the training of the built-in model.

A tool is either one of a small catalogue with natural requests, or drawn: a verb, a noun and
parameters put together, with a request that states the values. Cases of the evaluation are not
drawn from here.
"""

# ruff: noqa: SIM905 - word lists read better as text

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

from builtin_model import words
from builtin_model.catalogue import CATALOGUE, Entry
from builtin_model.draw import loosen, odd_word, random_words
from builtin_model.odd_tools import draw_key, draw_odd_tools, odd_request, small_phrase

Tool = dict[str, Any]


@dataclass
class ToolCase:
    """Offered tools, a request and the call that answers it."""

    tools: list[Tool]
    request: str
    name: str
    arguments: dict[str, Any]
    odd: bool = False
    """Whether the names of its parameters were drawn, and mean nothing."""


def draw_value(rng: random.Random, kind: str) -> Any:
    """A drawn argument."""
    if kind == "int":
        return rng.choice([rng.randint(0, 20), rng.randint(0, 99), rng.randint(0, 9999)])
    if kind == "number":
        return round(rng.random() * 100, 1)
    if kind == "bool":
        return rng.random() < 0.5
    if kind == "city":
        if rng.random() < 0.4:
            return rng.choice([invented_name(rng), odd_word(rng).capitalize()])
        return rng.choice(words.CITIES)
    if kind == "name":
        return rng.choice(words.NAMES) if rng.random() < 0.7 else invented_name(rng)
    if kind == "currency":
        return rng.choice(["euros", "yen", "pounds", "francs", "pesos", "EUR", "JPY", "GBP"])
    if kind == "language":
        return rng.choice("French German Spanish Italian Greek Polish Dutch Japanese".split())
    if kind == "path":
        stem = rng.choice(words.NOUNS)
        folder = rng.choice(["", "", "/tmp/", "data/", "src/", f"{rng.choice(words.NOUNS)}/"])
        return f"{folder}{stem}.{rng.choice(['txt', 'py', 'md', 'json', 'csv', 'log'])}"
    if kind == "code":
        return f"print({rng.randint(0, 99)} {rng.choice('+-*')} {rng.randint(0, 99)})"
    if kind == "noun" and rng.random() < 0.2:
        return odd_word(rng)
    if kind == "noun":
        return rng.choice(words.NOUNS)
    return phrase(rng)


def invented_name(rng: random.Random) -> str:
    """A capitalised name that is in no table."""
    parts = "ba ko ri ton ville ham ber dor lin mar san tel vor wick zan el gra mo ne os pel qui ru"
    return "".join(rng.choice(parts.split()) for _ in range(rng.randint(2, 3))).capitalize()


def phrase(rng: random.Random) -> str:
    """One to four words."""
    if rng.random() < 0.4:
        return small_phrase(rng)
    kind = rng.randrange(5)
    if kind == 4:
        return random_words(rng, rng.randint(1, 3))
    if kind == 0:
        return rng.choice(words.NOUNS)
    if kind == 1:
        return f"{rng.choice(words.ADJECTIVES)} {rng.choice(words.NOUNS)}s"
    if kind == 2:
        return f"the {rng.choice(words.NOUNS)} {rng.choice(words.VERBS)}"
    table = words.NOUNS + words.SMALL_WORDS + words.ADJECTIVES
    return " ".join(rng.choice(table) for _ in range(rng.randint(2, 4)))


SUMS = ("add", "subtract", "multiply", "run_python")
"""Tools that could answer each other's requests."""

DESCRIPTIONS: tuple[str, ...] = (
    "{v} a {n}.",
    "{v} the {n}",
    "{v}s a {n}",
    "{v}s the {n}.",
    "Use this to {v} a {n}.",
)
"""Of drawn tools."""

JSON_TYPES: dict[str, str] = {"int": "integer", "number": "number", "bool": "boolean"}


def draw_form(rng: random.Random) -> int:
    """How tools are written down: mostly in the plainest form."""
    return 0 if rng.random() < 0.7 else rng.randrange(8)


def describe(
    rng: random.Random, name: str, description: str, parameters: dict[str, str], form: int
) -> Tool:
    """The tool as a client sends it: OpenAI's form, mostly."""
    properties: dict[str, Any] = {}
    for key, kind in parameters.items():
        properties[key] = {"type": JSON_TYPES.get(kind, "string")}
        if form % 2:
            properties[key]["description"] = rng.choice(
                [f"The {key}", f"the {key} to use", key.replace("_", " ").capitalize()]
            )
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if form < 6:
        schema["required"] = list(parameters)
    function: Tool = {"name": name, "description": description, "parameters": schema}
    if form == 5:
        del function["description"]
    tool = function if form == 7 else {"type": "function", "function": function}
    # Some programs render tools with sorted keys.
    return json.loads(json.dumps(tool, sort_keys=True)) if form == 6 else tool


def draw_names(rng: random.Random, entry: Entry, odd: float = 0.0) -> tuple[str, dict[str, str]]:
    """A name and parameter names out of those that an entry may have.

    ``odd`` is the share of tools whose parameters are called by any words at all.
    """
    name = entry.names[0] if rng.random() < 0.5 else rng.choice(entry.names)
    if rng.random() < odd:
        kinds = list(entry.parameters.values())
        keys: list[str] = []
        while len(keys) < len(kinds):
            key = draw_key(rng)
            keys += [key] * (key not in keys)
        return name, dict(zip(keys, kinds, strict=True))
    return name, {rng.choice(key.split("|")): kind for key, kind in entry.parameters.items()}


TAILS: tuple[str, ...] = (
    "right now", "today", "now", "at the moment", "tonight", "again", "for me", "this morning",
)  # fmt: skip


def with_tail(rng: random.Random, request: str, entry: Entry) -> str:
    """A request, now and then with words behind its last value that do not belong to it."""
    ends = request.rstrip("?.!")
    last = list(entry.parameters.values())[-1:]
    if not ends.endswith("}") or last in (["phrase"], ["code"]) or rng.random() > 0.3:
        return request
    return f"{ends} {rng.choice(TAILS)}{request[len(ends) :]}"


@dataclass(frozen=True)
class Drawn:
    """A drawn tool, before its values."""

    verb: str
    noun: str
    parameters: dict[str, str]

    @property
    def name(self) -> str:
        """The tool's name."""
        return f"{self.verb}_{self.noun}"


def invent(rng: random.Random) -> Drawn:
    """A verb, a noun and up to three parameters."""
    keys = rng.sample(
        "color size name count id title city date price level text kind owner mode "
        "speed amount width number place reason".split(),
        rng.randint(0, 3),
    )
    keys = [rng.choice(words.NOUNS) if rng.random() < 0.2 else key for key in keys]
    kinds = {
        "size": "int",
        "count": "int",
        "id": "int",
        "price": "int",
        "level": "int",
        "speed": "int",
        "amount": "int",
        "width": "int",
        "number": "int",
        "city": "city",
        "owner": "name",
        "place": "city",
        "name": "name",
    }
    return Drawn(
        rng.choice(words.VERBS),
        rng.choice(words.NOUNS),
        {key: kinds.get(key) or rng.choice(["noun", "noun", "int"]) for key in keys},
    )


def request_for(rng: random.Random, tool: Drawn, arguments: dict[str, Any]) -> str:
    """A request in words for a drawn tool, with its values."""
    act = rng.choice(
        [
            "{v} the {n}",
            "{v} a {n}",
            "please {v} the {n}",
            "I want to {v} a {n}",
            "can you {v} the {n}",
            "{v} {n}",
            "{v} my {n}",
            "I need to {v} the {n}",
            "use {v}_{n}",
            "call {v}_{n}",
            "could you {v} this {n}",
            "could you please {v} the {n}",
            "please {v} a {n}",
            "{v} a new {n}",
            "please {v} a new {n}",
            "could you {v} the {n} for me",
            "I would like to {v} the {n}",
        ]
    )
    text = act.format(v=tool.verb, n=tool.noun)
    form = rng.choice(
        [
            "{k} {v}",
            "{k} is {v}",
            "{k} = {v}",
            "{k}: {v}",
            "the {k} {v}",
            "{k}={v}",
            'the {k} "{v}"',
            "{v} as {k}",
            "{k} set to {v}",
            "{k} should be {v}",
            "{v} {k}",
            '{k} "{v}"',
            "for {v} {k}",
        ]
    )
    said = [form.format(k=key, v=value) for key, value in arguments.items()]
    if said:
        joiner = rng.choice([" and ", ", "])
        opener = (
            " "
            if form.startswith("for")
            else rng.choice([" with ", ", ", " where ", " using ", ": ", " "])
        )
        text += opener + joiner.join(said)
    text = text[:1].upper() + text[1:] if rng.random() < 0.8 else text
    if rng.random() < 0.1:
        text += rng.choice([", thank you", ", please", " please", ", thanks", " for me"])
    return text + rng.choice([".", "", ".", "?" if "ould you" in text or "an you" in text else "."])


def draw_tools(
    rng: random.Random,
    without_sums: bool = False,
    count: int | None = None,
    forms: int | None = None,
) -> list[Tool]:
    """Offered tools, one to three."""
    form = draw_form(rng) if forms is None else forms
    tools: dict[str, Tool] = {}
    wanted = count if count is not None else rng.randint(1, 3)
    while len(tools) < wanted:
        if rng.random() < 0.4:
            for odd in draw_odd_tools(rng, rng.randint(1, wanted - len(tools))):
                tools[odd.name] = describe(rng, odd.name, odd.description, odd.parameters, form)
            continue
        if rng.random() < 0.5:
            entry = rng.choice(CATALOGUE)
            if without_sums and entry.names[0] in SUMS:
                continue
            name, parameters = draw_names(rng, entry)
            description = rng.choice(entry.description)
        else:
            made = invent(rng)
            name, parameters = made.name, made.parameters
            description = rng.choice(DESCRIPTIONS)
            description = description.format(v=made.verb.capitalize(), n=made.noun)
        tools[name] = describe(rng, name, description, parameters, form)
    return list(tools.values())


def odd_tool_case(rng: random.Random) -> ToolCase:
    """One to four tools with drawn names, one of the catalogue among them now and then."""
    form = draw_form(rng)
    offered = draw_odd_tools(rng, rng.randint(1, 4))
    tool = rng.choice(offered)
    arguments = {
        key: small_phrase(rng) if kind == "phrase" else draw_value(rng, kind)
        for key, kind in tool.parameters.items()
    }
    tools = [describe(rng, t.name, t.description, t.parameters, form) for t in offered]
    if len(tools) < 3 and rng.random() < 0.4:
        entry = rng.choice(CATALOGUE)
        name, parameters = draw_names(rng, entry)
        if name not in {t.name for t in offered}:
            tools.append(describe(rng, name, rng.choice(entry.description), parameters, form))
    rng.shuffle(tools)
    return ToolCase(tools, odd_request(rng, tool, arguments), tool.name, arguments, odd=True)


def draw_tool_case(rng: random.Random) -> ToolCase:
    """Some offered tools and a request for one of them."""
    if rng.random() < 0.6:
        return odd_tool_case(rng)
    form = draw_form(rng)
    if rng.random() < 0.55:
        entry = rng.choice(CATALOGUE if rng.random() < 0.7 else CATALOGUE[:6])
        name, parameters = draw_names(rng, entry, odd=0.4)
        arguments = {key: draw_value(rng, kind) for key, kind in parameters.items()}
        request = with_tail(rng, loosen(rng, rng.choice(entry.requests)), entry)
        request = request.format(*arguments.values())
        tool = describe(rng, name, rng.choice(entry.description), parameters, form)
        clash = set(entry.names)
        sums = entry.names[0] in SUMS
    else:
        made = invent(rng)
        name = made.name
        arguments = {key: draw_value(rng, kind) for key, kind in made.parameters.items()}
        request = request_for(rng, made, arguments)
        description = rng.choice(DESCRIPTIONS)
        description = description.format(v=made.verb.capitalize(), n=made.noun)
        tool = describe(rng, name, description, made.parameters, form)
        clash, sums = {name}, False
    others = [
        t
        for t in draw_tools(rng, sums, rng.randint(0, 2), form)
        if t.get("function", t)["name"] not in clash
    ]
    tools = [*others, tool]
    rng.shuffle(tools)
    return ToolCase(tools, request, name, arguments)


def tool_result(rng: random.Random, case: ToolCase) -> tuple[str, str]:
    """What the called tool returned, and the answer that states it."""
    kind = rng.randrange(4)
    if kind == 0:
        value = str(draw_value(rng, rng.choice(["int", "number", "phrase", "city", "name"])))
        return value, f"The result is {value}."
    if kind == 1:
        value = draw_value(rng, rng.choice(["int", "number", "phrase", "name"]))
        key = rng.choice(["result", "value", "answer", "output"])
        return json.dumps({key: value}), f"The result is {value}."
    if kind == 2:
        degrees = rng.randint(-9, 39)
        sky = rng.choice(["sunny", "rainy", "cloudy", "windy", "snowy", "foggy", "clear"])
        first = rng.choice(["temperature", "temp", "degrees"])
        second = rng.choice(["condition", "sky", "weather", "conditions"])
        data: dict[str, Any] = {first: degrees, second: sky}
        return json.dumps(data), f"The {first} is {degrees} and the {second} is {sky}."
    keys = rng.sample("status name price count city level owner time title total".split(), 2)
    pair = {key: draw_value(rng, rng.choice(["int", "noun", "name"])) for key in keys}
    said = " and ".join(f"the {key} is {value}" for key, value in pair.items())
    return json.dumps(pair), said[:1].upper() + said[1:] + "."
