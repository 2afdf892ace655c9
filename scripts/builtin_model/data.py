"""Training text for the built-in model, drawn by seed.

Every generator takes a ``random.Random`` and returns one ``Sample``: a conversation (or a raw
prompt) and the answer that the model is to learn. Nothing is downloaded and nothing comes from
a corpus: the text is composed from the tables in ``builtin_model.words`` and
``builtin_model.tools``. It is not the evaluation: held-out wordings are in
``builtin_model.held_out``.
"""

# ruff: noqa: SIM905 - word lists read better as text

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

from builtin_model import words
from builtin_model.draw import (
    ANY_WORD,
    Message,
    Sample,
    dress,
    fill,
    loosen,
    odd_word,
    with_article,
)
from builtin_model.functions import fim_sample_text
from builtin_model.held_back import is_held_back
from builtin_model.small_talk import count_up, small_talk
from builtin_model.talk import (
    COUNTRIES,
    arithmetic,
    capital,
    copy_text,
    edit_text,
    fact,
    greeting,
    listing,
    short_copy,
    sum_table,
    sum_terms,
    unknown,
)
from builtin_model.tools import ToolCase, draw_tool_case, draw_tools, tool_result

JSON_KEYS: tuple[str, ...] = (
    tuple(
        "name age city active title year price color size count id email score level open done "
        "ready kind type "
        "country street phone quantity available paid status first_name last_name".split()
    )
    + words.NOUNS
)


JSON_SYSTEMS: tuple[str, ...] = (
    "Answer in JSON.",
    "Answer only with JSON.",
    "You write JSON.",
    "Output JSON only.",
    "Respond with JSON that matches this schema: {schema}",
    "Use this JSON schema: {schema}",
    "Answer with a JSON object for the schema\n{schema}",
)
JSON_WORDINGS: tuple[str, ...] = (
    "Write JSON for this schema: {schema}\n{Facts}.",
    "Schema: {schema}\nText: {Facts}.\nJSON:",
    "Return a JSON object that matches the schema {schema}. {Facts}.",
    "{Facts}. Write this as JSON with the schema {schema}",
    "{Facts}. Give me JSON: {schema}",
    "Fill this JSON schema: {schema} Values: {facts}",
    "Give me a JSON object with {facts}.",
    "Use the schema {schema} and answer in JSON: {facts}",
    "As JSON: {facts}",
    "JSON: {facts}",
    "Extract {keys} as JSON. {Facts}.",
    "Write a JSON object with the keys {listed}. {Facts}.",
    "Answer with JSON only. Schema:\n{schema}\n\n{Facts}",
    "Make JSON: {facts}.",
    "Turn this into JSON with {keys}: {facts}",
    "Create a JSON object where {facts}.",
    "I have a JSON schema: {schema}\nWrite an object with {facts}.",
    "The schema is {schema}\nThe values are: {facts}.",
    "Produce a JSON object for the schema {schema}, where {facts}.",
    "From this sentence make JSON: {facts}. The schema: {schema}",
    "Encode {facts} as JSON, following the schema {schema}",
    "Write this sentence as JSON: {facts}. Follow {schema}",
    "Please write the object for this schema: {schema}\n{Facts}.",
    "{Facts}. Please encode this as JSON according to {schema}",
    "Following this JSON schema {schema}, please give me the object where {facts}.",
    "Please produce JSON from the values {facts}, according to {schema}",
    "Here is a JSON schema:\n{schema}\n\nWrite an object for: {facts}",
    "Convert to JSON: {facts}",
    "Write JSON with {facts}",
    "JSON object please: {facts}.",
    "{Facts}. Put that in a JSON object with the fields {listed}.",
    "Respond in JSON matching {schema}. The {noun}: {facts}.",
)


PLAIN = frozenset(("true", "false"))


def json_value(rng: random.Random, kind: str) -> Any:
    """A drawn value of a JSON type."""
    if kind == "integer":
        return rng.choice([rng.randint(0, 20), rng.randint(0, 100), rng.randint(0, 5000)])
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "number":
        return round(rng.random() * 100, rng.choice([1, 2]))
    pool = rng.choice([words.NAMES, words.CITIES, words.NOUNS, words.ADJECTIVES])
    text = rng.choice(pool) if rng.random() < 0.75 else odd_word(rng)
    return f"{text} {rng.choice(pool)}" if rng.random() < 0.15 else text


def alike_value(rng: random.Random, value: Any) -> Any:
    """A value that begins as another one of its object does, as 34 and 340."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return rng.choice([value, value // 10, value * 10 + rng.randint(0, 9)])
    return value[: rng.randint(1, len(value))].strip() + rng.choice(["", odd_word(rng).lower()])


def draw_values(rng: random.Random, kinds: list[str]) -> list[Any]:
    """Values of JSON types, some of them alike."""
    values: list[Any] = []
    for kind in kinds:
        earlier = [v for k, v in zip(kinds, values, strict=False) if k == kind]
        if earlier and rng.random() < 0.2:
            values.append(alike_value(rng, rng.choice(earlier)))
        else:
            values.append(json_value(rng, kind))
    return values


def draw_keys(rng: random.Random) -> list[str]:
    """Different keys of an object, now and then odd ones, or ones with a common part."""
    keys = rng.sample(JSON_KEYS, rng.choice((1, 2, 2, 3, 3, 4, 4, 4, 5, 6)))
    keys = [odd_word(rng).lower() if rng.random() < 0.15 else key for key in keys]
    if rng.random() < 0.1:
        part = rng.choice(words.NOUNS)
        form = rng.choice(["{part}_{key}", "{key}_{part}"])
        keys = [form.format(part=part, key=k) if rng.random() < 0.7 else k for k in keys]
    return list(dict.fromkeys(keys))


def say_value(rng: random.Random, key: str, value: Any, form: int) -> str:
    """A key and its value as a person would state them."""
    shown = (
        {True: "true", False: "false"}.get(value, str(value))
        if isinstance(value, bool)
        else str(value)
    )
    forms = (
        "{k} is {v}",
        "the {k} is {v}",
        "{k}: {v}",
        "{k} = {v}",
        "{k} {v}",
        "{v} as {k}",
        "{k} should be {v}",
        "{v} for {k}",
        "the {k} {v}",
        '{k} "{v}"',
        "{k}={v}",
        "set {k} to {v}",
    )
    return forms[form].format(k=key, v=shown)


def json_object(rng: random.Random) -> Sample:
    """Values in a sentence, to be written as a JSON object."""
    keys = draw_keys(rng)
    kinds = [rng.choice(["string", "string", "integer", "integer", "boolean"]) for _ in keys]
    data = dict(zip(keys, draw_values(rng, kinds), strict=True))
    stated = list(data)
    if rng.random() < 0.08:
        rng.shuffle(stated)
    form = rng.randrange(4) if rng.random() < 0.85 else rng.randrange(12)
    parts = [
        say_value(
            rng,
            key,
            data[key],
            form if rng.random() < 0.97 else rng.randrange(12),
        )
        for key in stated
    ]
    facts = ", ".join(parts)
    if len(parts) > 1 and rng.random() < 0.6:
        facts = ", ".join(parts[:-1]) + rng.choice([" and ", ", and "]) + parts[-1]
    properties = {key: {"type": kind} for key, kind in zip(keys, kinds, strict=True)}
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if rng.random() < 0.7:
        schema["required"] = keys
    if rng.random() < 0.3:
        schema["additionalProperties"] = False
    listed = ", ".join(f"{key} ({kind})" for key, kind in zip(keys, kinds, strict=True))
    asked = loosen(rng, rng.choice(JSON_WORDINGS))
    asked = asked.replace("{keys}", ", ".join(keys)).replace("{listed}", listed)
    asked = asked.replace("{schema}", json.dumps(schema)).replace("{facts}", facts)
    asked = asked.replace("{Facts}", with_article(facts))
    answer = json.dumps(data, ensure_ascii=False)
    sample = Sample(
        answer,
        fill(rng, asked),
        "I write a JSON object.",
        meaningless=frozenset(ANY_WORD.findall(answer)) - PLAIN,
    )
    if rng.random() < 0.2:
        sample.system = rng.choice(JSON_SYSTEMS).replace("{schema}", json.dumps(schema))
        if "schema" in sample.system and rng.random() < 0.7:
            sample.user = with_article(facts) + "."
    return sample


SCHEMA_WORDS = frozenset(
    "type function name description parameters properties required object string integer number"
    " boolean arguments tools user system assistant".split()
)
"""Words of every list of tools, which have a meaning there."""


def call_text(name: str, arguments: dict[str, Any]) -> str:
    """A tool call as the model writes it."""
    body = json.dumps({"name": name, "arguments": arguments}, ensure_ascii=False)
    return f"<tool_call>\n{body}\n</tool_call>"


def tool_call(rng: random.Random) -> Sample:
    """A request that one of the offered tools answers."""
    case: ToolCase = draw_tool_case(rng)
    asked = dress(rng, case.request, 0.6)
    values = [value for value in case.arguments.values() if isinstance(value, str)]
    odd = case.odd and rng.random() < 0.5
    names = ANY_WORD.findall(" ".join([case.name, *(() if odd else case.arguments)]))
    free = [*values, *case.arguments] if odd else values
    return Sample(
        call_text(case.name, case.arguments),
        asked,
        f"The tool {case.name} fits.",
        tools=case.tools,
        meaningless=frozenset(ANY_WORD.findall(" ".join(free))).difference(names, SCHEMA_WORDS),
    )


def tool_answer(rng: random.Random) -> Sample:
    """The answer from a tool's result."""
    case = draw_tool_case(rng)
    content, answer = tool_result(rng, case)
    call = {
        "type": "function",
        "id": "call_1",
        "function": {"name": case.name, "arguments": case.arguments},
    }
    before: list[Message] = [
        {"role": "user", "content": case.request},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": content},
    ]
    return Sample(answer, "", "The tool has answered.", before=before, tools=case.tools)


def tool_unused(rng: random.Random) -> Sample:
    """A simple question, asked while tools are offered that do not fit it."""
    makers = [greeting, small_talk, small_talk, small_talk, count_up, capital, fact, listing]
    maker = rng.choice([*makers, short_copy, arithmetic])
    sample = maker(rng)
    sample.tools = draw_tools(rng, without_sums=maker is arithmetic)
    return sample


def fill_middle(rng: random.Random) -> Sample:
    """The middle of a short Python function."""
    before, middle, after = fim_sample_text(rng)
    prompt = f"<|fim_prefix|>{before}<|fim_suffix|>{after}<|fim_middle|>"
    return Sample(middle, raw=prompt)


def raw_text(rng: random.Random) -> Sample:
    """Plain text without chat markup, to be continued."""
    kind = rng.randrange(5)
    if kind == 0:
        country = COUNTRIES.deal(rng)
        return Sample(f" {words.CAPITALS[country]}.", raw=f"The capital of {country} is")
    if kind == 1:
        sign, a, b, c = sum_terms(rng)
        return Sample(f" {c}", raw=f"{a} {sign} {b} =")
    if kind == 2:
        start, length = rng.randint(0, 8), rng.randint(2, 4)
        numbers = [str(n) for n in range(start, 21)]
        return Sample(" " + ", ".join(numbers[length:]), raw=", ".join(numbers[:length]) + ",")
    if kind == 3:
        start = rng.randrange(len(words.DAYS) - 2)
        return Sample(
            " " + ", ".join(words.DAYS[start + 2 :]),
            raw=", ".join(words.DAYS[start : start + 2]) + ",",
        )
    before, middle, after = fim_sample_text(rng)
    return Sample(middle + after, raw=before)


def conversation(rng: random.Random) -> Sample:
    """Two or three short turns."""
    makers = [small_talk, capital, fact, arithmetic, listing, count_up, short_copy, unknown]
    turns = [rng.choice(makers)(rng) for _ in range(rng.randint(2, 3))]
    last = turns.pop()
    for turn in turns:
        last.before += [
            {"role": "user", "content": turn.user},
            {"role": "assistant", "content": turn.answer},
        ]
    if rng.random() < 0.25:
        country = COUNTRIES.deal(rng)
        first = capital(rng)
        last.before = [
            {"role": "user", "content": first.user},
            {"role": "assistant", "content": first.answer},
        ]
        last.user = rng.choice(
            [
                "And of {}?",
                "And {}?",
                "What about {}?",
                "And the one of {}?",
                "Now {}.",
                "And for {}?",
            ]
        ).format(country)
        last.answer = f"The capital of {country} is {words.CAPITALS[country]}."
        last.thought = f"This is about {country}."
    return last


MAKERS: dict[str, Callable[[random.Random], Sample]] = {
    "greeting": greeting,
    "small_talk": small_talk,
    "count_up": count_up,
    "capital": capital,
    "fact": fact,
    "arithmetic": arithmetic,
    "sums": sum_table,
    "copy": copy_text,
    "edit": edit_text,
    "listing": listing,
    "unknown": unknown,
    "json": json_object,
    "tool_call": tool_call,
    "tool_answer": tool_answer,
    "tool_unused": tool_unused,
    "fim": fill_middle,
    "raw": raw_text,
    "conversation": conversation,
}
DEFAULT_MIX: dict[str, float] = {
    "greeting": 2,
    "small_talk": 5,
    "count_up": 2,
    "capital": 5,
    "fact": 5,
    "arithmetic": 13,
    "sums": 4,
    "copy": 15,
    "edit": 0.5,
    "listing": 3,
    "unknown": 2,
    "json": 27,
    "tool_call": 26,
    "tool_answer": 3,
    "tool_unused": 6,
    "fim": 20,
    "raw": 0.5,
    "conversation": 4,
}
COPYING = ("copy", "edit", "json", "tool_call", "tool_answer")
"""Tasks whose answers repeat words of the prompt."""

BROKEN_SHARE = 0.4
STRANGE_SHARE = 0.5
"""Of the broken samples with words whose meaning does not matter."""


def draw_system(rng: random.Random) -> str | None:
    """A system prompt, or none in half of all samples."""
    if rng.random() < 0.5:
        return None
    return fill(rng, rng.choice(words.SYSTEM_PROMPTS))


def draw_samples(seed: int, mix: dict[str, float]) -> Iterator[tuple[str, Sample]]:
    """Samples without end."""
    rng = random.Random(seed)
    names, weights = list(mix), list(mix.values())
    while True:
        name = rng.choices(names, weights)[0]
        sample = MAKERS[name](rng)
        if is_held_back(sample):
            continue
        if name in COPYING and rng.random() < BROKEN_SHARE:
            sample.broken = rng.getrandbits(32) | 1
            if rng.random() < STRANGE_SHARE:
                sample.strange = sample.meaningless
        if sample.raw is None:
            sample.system = sample.system or draw_system(rng)
            sample.thinking = rng.random() < 0.1
        yield name, sample
