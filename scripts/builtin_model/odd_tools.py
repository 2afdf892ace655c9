"""Tools whose names are put together anew each time, with requests that do not say all of them.

No name can be known by heart: those of parameters stand in the schema alone, and several of the
offered tools have names in common. Values have one to four words, small ones among them.
"""

# ruff: noqa: SIM905 - word lists read better as text

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from builtin_model import words
from builtin_model.draw import odd_word

KEYS: tuple[str, ...] = tuple(
    """name title city date text size count id level price amount query topic item kind mode speed
place reason target source user owner label value key path url phone minutes hours days seconds
language author brand model shape weight height length width start end limit page term subject
first second x y a b n q""".split()
)
MORE_VERBS: tuple[str, ...] = tuple(
    """look_up give choose pick show suggest recommend watch grow order plan start make write add
heat cool dry fill empty lift lower press turn get fetch bring search find list register
reserve join collect gather lend return""".split()
)
MORE_THINGS: tuple[str, ...] = tuple(
    """film menu tour hotel route joke photo poem course plant pump lamp alarm form case member
guest ward trip parcel bill class lesson player team race visit vote test rule step row
cell""".split()
)
KINDS: tuple[str, ...] = ("phrase", "phrase", "phrase", "int", "int", "name", "city", "noun")

ACTS: tuple[str, ...] = (
    "{v} the {n}", "{v} a {n}", "{v} me the {n}", "{v} me a {n}", "{v} {n}", "{v} some {n}",
    "{v} my {n}", "{v} a new {n}", "{v} the {n}", "{v} a {n}", "{v} one {n}", "{v} this {n}",
)  # fmt: skip
OPENERS: tuple[str, ...] = (
    "", "", "please ", "please ", "could you ", "could you ", "can you ", "would you ",
    "I want to ", "I would like to ", "could you please ", "I need to ", "now ",
    "hello, please ", "let us ",
)  # fmt: skip
WORD_PLACES: tuple[str, ...] = (
    " for {v}", " for {v}", " of {v}", " of {v}", " about {v}", " on {v}", " with {v}", " {v}",
    ' "{v}"', " called {v}", ' called "{v}"', " named {v}", ' titled "{v}"', " in {v}", ": {v}",
    " at {v}", " to {v}", " from {v}", ", {v}", " with {k} {v}", ", {k} {v}", ", {k} is {v}",
    ", {k} should be {v}", ' with the {k} "{v}"', " where the {k} is {v}", " {k} {v}", " ({v})",
)  # fmt: skip
NUMBER_PLACES: tuple[str, ...] = (
    " {v}", " for {v} {k}", " for {v} {k}", " with {v}", " with {k} {v}", " number {v}", " at {v}",
    ", {k} should be {v}", ", {k} {v}", ", {k} is {v}", " with {k} = {v}", ", {k}: {v}", " of {v}",
    " where {k} is {v}", ", {v} {k}", " ({v})", " to {v}",
)  # fmt: skip
FURTHER: tuple[str, ...] = (
    " and {k} {v}", " and {v} as {k}", ", {k} {v}", " with {k} {v}", " and the {k} {v}",
    ", {k}: {v}", " and {k} should be {v}", ", and {k} is {v}", ' and {k} "{v}"', " and {k} = {v}",
)  # fmt: skip
ENDINGS: tuple[str, ...] = (
    "", ".", ".", ".", "?", "?", "!", " for me.", " for me?", ", please.", ", please?", ", thanks.",
    ", thank you.", " please", " now.", " today.", " right now.", " right now?", " at once.",
    " tonight?", " again.", " now, please.", " today?", " then.",
)  # fmt: skip
DESCRIPTIONS: tuple[str, ...] = (
    "{V} a {n}.", "{V}s a {n}", "{V}s the {n}.", "{V} the {n}", "{V}s {n}s", "A tool for {n}s.",
    "Use it to {v} a {n}", "The {n}.",
)  # fmt: skip


@dataclass(frozen=True)
class OddTool:
    """A drawn tool: name, what it is about, and the kinds of its parameters."""

    name: str
    description: str
    verb: str
    thing: str
    parameters: dict[str, str]


def draw_thing(rng: random.Random) -> str:
    """What a tool is about, now and then a word that is in no table."""
    if rng.random() < 0.3:
        return odd_word(rng).lower()
    return rng.choice(words.NOUNS if rng.random() < 0.7 else MORE_THINGS)


def draw_key(rng: random.Random) -> str:
    """The name of a parameter: any word at all."""
    kind = rng.random()
    if kind < 0.25:
        return rng.choice(KEYS)
    if kind < 0.55:
        return rng.choice(words.NOUNS)
    if kind < 0.65:
        return rng.choice(words.ADJECTIVES + words.VERBS + words.SMALL_WORDS)
    if kind < 0.75:
        return f"{rng.choice(words.ADJECTIVES + KEYS[:20])}_{rng.choice(words.NOUNS)}"
    return odd_word(rng).lower()


def small_phrase(rng: random.Random) -> str:
    """One to four words that belong together, small words among them."""
    first, second = rng.choice(words.NOUNS), rng.choice(words.NOUNS)
    if rng.random() < 0.25:
        first = odd_word(rng).lower()
    if rng.random() < 0.25:
        second = odd_word(rng).lower()
    adjective, verb = rng.choice(words.ADJECTIVES), rng.choice(words.VERBS)
    small = rng.choice(words.SMALL_WORDS)
    forms = (
        first, f"{first}s", f"{first} {second}", f"{first} {second}", f"{first} {second}",
        f"{adjective} {first}", f"{adjective} {first} {second}s", f"no {first}", f"not {adjective}",
        f"{first} and {second}", f"{first} without {second}", f"{first} {verb}s", f"the {first}",
        f"{first} in the {second}", f"{small} {first}", f"a {first} {second}",
        f"{rng.randint(2, 40)} {first}s", f"{first} of {second}s", f"{verb} {small} {second}",
        f"all {first}s", f"{first} {second} {rng.choice(words.NOUNS)}", f"my {first} {second}",
    )  # fmt: skip
    return rng.choice(forms)


def draw_odd_tools(rng: random.Random, count: int) -> list[OddTool]:
    """Tools of different names that share some of their words and parameters."""
    keys = list(dict.fromkeys(draw_key(rng) for _ in range(count + rng.randint(1, 2))))
    verbs = [rng.choice(words.VERBS if rng.random() < 0.6 else MORE_VERBS) for _ in range(count)]
    things = [draw_thing(rng) for _ in range(count)]
    alike = rng.random()
    if alike < 0.25:
        verbs = verbs[:1] * count
    elif alike < 0.4:
        things = things[:1] * count
    tools: dict[str, OddTool] = {}
    for verb, thing in zip(verbs, things, strict=True):
        chosen = rng.sample(keys, min(len(keys), rng.choice((0, 1, 1, 1, 1, 2, 2, 3))))
        form = rng.choice(("{v}_{n}", "{v}_{n}", "{v}_{n}", "{n}_{v}", "{v}{N}", "{n}"))
        name = form.format(v=verb, n=thing, N=thing.capitalize())
        spoken = verb.replace("_", " ")
        described = rng.choice(DESCRIPTIONS).format(v=spoken, V=spoken.capitalize(), n=thing)
        kinds = {key: rng.choice(KINDS) for key in chosen}
        tools.setdefault(name, OddTool(name, described, spoken, thing, kinds))
    return list(tools.values())


def odd_request(rng: random.Random, tool: OddTool, arguments: dict[str, Any]) -> str:
    """A request for a tool, which need not say how its parameters are called."""
    text = rng.choice(OPENERS) + rng.choice(ACTS).format(v=tool.verb, n=tool.thing)
    for number, (key, value) in enumerate(arguments.items()):
        places = NUMBER_PLACES if isinstance(value, int) else WORD_PLACES
        form = rng.choice(FURTHER if number else places)
        text += form.format(k=key.replace("_", " ") if rng.random() < 0.5 else key, v=value)
    text += rng.choice(ENDINGS)
    return text[:1].upper() + text[1:] if rng.random() < 0.8 else text
