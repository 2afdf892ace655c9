"""Short Python functions from which the fill-in-the-middle samples of training are cut.

The functions are forms with open names; a drawn form, drawn names and a drawn cut make a
sample. They are not the functions of the evaluation, which has its own.
"""

# ruff: noqa: SIM905 - word lists read better as text

from __future__ import annotations

import random
import re

FORMS: tuple[str, ...] = (
    "def {f}({a}, {b}):\n    return {a} {op} {b}\n",
    "def {f}({a}):\n    return {a} {op} {n}\n",
    "def {f}({a}, {b}):\n    {r} = {a} {op} {b}\n    return {r}\n",
    "def {f}({a}, {b}):\n    if {a} {cmp} {b}:\n        return {a}\n    return {b}\n",
    "def {f}({a}, {b}):\n    if {a} {cmp} {b}:\n        return {a}\n"
    "    else:\n        return {b}\n",
    "def {f}({a}):\n    return {a} {cmp} {n}\n",
    "def {f}({a}):\n    return {a} % 2 == 0\n",
    "def {f}({a}):\n    return len({a})\n",
    "def {f}({a}):\n    return sum({a})\n",
    "def {f}({a}):\n    return sum({a}) / len({a})\n",
    "def {f}({a}):\n    {r} = 0\n    for {i} in {a}:\n        {r} += {i}\n    return {r}\n",
    "def {f}({a}):\n    {r} = []\n    for {i} in {a}:\n"
    "        {r}.append({i} {op} {n})\n    return {r}\n",
    "def {f}({a}):\n    {r} = []\n    for {i} in {a}:\n        if {i} {cmp} {n}:\n"
    "            {r}.append({i})\n    return {r}\n",
    "def {f}({a}):\n    return [{i} {op} {n} for {i} in {a}]\n",
    "def {f}({a}):\n    return [{i} for {i} in {a} if {i} {cmp} {n}]\n",
    "def {f}({a}):\n    {r} = 1\n    for {i} in range(1, {a} + 1):\n"
    "        {r} *= {i}\n    return {r}\n",
    "def {f}({a}):\n    for {i} in range({a}):\n        print({i})\n",
    "def {f}({a}):\n    if {a} < 0:\n        return -{a}\n    return {a}\n",
    "def {f}({a}):\n    if not {a}:\n        return None\n    return {a}[0]\n",
    "def {f}({a}):\n    return {a}[{n}]\n",
    "def {f}({a}):\n    return {a}[::-1]\n",
    "def {f}({a}):\n    return {a}.upper()\n",
    "def {f}({a}):\n    return {a}.lower()\n",
    "def {f}({a}):\n    return {a}.strip()\n",
    "def {f}({a}):\n    return {a}.split()\n",
    "def {f}({a}, {b}):\n    return {a}.get({b})\n",
    "def {f}({a}, {b}):\n    return {b} in {a}\n",
    'def {f}({a}):\n    print("{w}", {a})\n',
    'def {f}({a}):\n    return "{w} " + {a}\n',
    'def {f}({a}):\n    return f"{w} {{{a}}}"\n',
    'def {f}():\n    return "{w}"\n',
    "def {f}():\n    return {n}\n",
    "def {f}({a}, {b}, {c}):\n    return {a} {op} {b} {op} {c}\n",
    "def {f}({a}):\n    {r} = 0\n    while {a} > 0:\n"
    "        {r} += {a}\n        {a} -= 1\n    return {r}\n",
    "def {f}({a}):\n    {r} = {a}[0]\n    for {i} in {a}:\n        if {i} {cmp} {r}:\n"
    "            {r} = {i}\n    return {r}\n",
    "def {f}({a}):\n    {r} = {{}}\n    for {i} in {a}:\n        {r}[{i}] = {r}.get({i}, 0) + 1\n"
    "    return {r}\n",
    "def {f}({a}):\n    return sorted({a})\n",
    "def {f}({a}):\n    return max({a}) - min({a})\n",
    "def {f}({a}, {b}={n}):\n    return {a} {op} {b}\n",
    "def {f}({a}: int, {b}: int) -> int:\n    return {a} {op} {b}\n",
    "def {f}({a}: int) -> int:\n    {r} = {a} {op} {n}\n    return {r}\n",
    'def {f}({a}: str) -> str:\n    return "{w} " + {a}\n',
    "def {f}({a}: int) -> bool:\n    return {a} {cmp} {n}\n",
    'def {f}({a}, {b}):\n    """Return the {w}."""\n    return {a} {op} {b}\n',
    "def {f}({a}, {b}):\n    # {w}\n    {r} = {a} {op} {b}\n    return {r}\n",
    "def {f}({a}):\n    if {a} == {n}:\n        return True\n    return False\n",
    "def {f}({a}):\n    try:\n        return int({a})\n"
    "    except ValueError:\n        return None\n",
    "class {C}:\n    def __init__(self, {a}):\n        self.{a} = {a}\n",
    "class {C}:\n    def __init__(self, {a}, {b}):\n"
    "        self.{a} = {a}\n        self.{b} = {b}\n",
)
ARGUMENTS: tuple[str, ...] = tuple(
    "a b x y n m k s t value number text name items values numbers words data left right first "
    "second width height count size price total key path line lines limit amount other".split()
)
RESULTS: tuple[str, ...] = tuple(
    "result total out answer acc found new_list best res output final product".split()
)
LOOPS: tuple[str, ...] = tuple("i item x v value n word element entry w number".split())
PLAIN_NAMES: dict[str, tuple[str, ...]] = {
    "+": ("add", "plus", "sum_of", "total", "combine", "increase"),
    "-": ("subtract", "minus", "difference", "decrease"),
    "*": ("multiply", "times", "product", "scale", "area"),
}
NAME_PARTS: tuple[str, ...] = tuple(
    "get make find compute count check build calc first last all new list item value number text "
    "sum max min double half is_even larger smaller word name size area total join filter keep "
    "load read show print square cube clean main run test helper update select process".split()
)
WORDS: tuple[str, ...] = tuple(
    "Hello hello result Value value Sum total Name done ok error yes no start".split()
)


REST_OF_LINE = re.compile(r"(?:\b(?:return|if|while|in|not) |= )(.+?)(?=:?$)", re.MULTILINE)


def draw_function(rng: random.Random) -> str:
    """One function with drawn names."""
    form = rng.choice(FORMS)
    a, b, c = rng.sample(ARGUMENTS, 3)
    r = rng.choice([name for name in RESULTS if name not in (a, b, c)])
    i = rng.choice([name for name in LOOPS if name not in (a, b, c, r)])
    op = rng.choice(["+", "+", "-", "*", "*"])
    name = "_".join(rng.sample(NAME_PARTS, rng.randint(1, 2)))
    if "{op}" in form and rng.random() < 0.5:
        name = rng.choice(PLAIN_NAMES[op])
    return form.format(
        f=name,
        a=a,
        b=b,
        c=c,
        r=r,
        i=i,
        op=op,
        cmp=rng.choice(["<", ">", "<=", ">=", "=="]),
        n=rng.choice([0, 1, 2, 2, 3, 5, 10, rng.randint(0, 20)]),
        w=rng.choice(WORDS),
        C=rng.choice(["Point", "User", "Item", "Node", "Box", "Shape", "Car", "Person"]),
    )


def cut_places(rng: random.Random, text: str) -> tuple[int, int]:
    """Where the middle begins and ends."""
    kind = rng.random()
    if kind < 0.3:
        return line_cut(rng, text)
    if kind < 0.36:
        start = rng.choice(body_lines(text))
        return start + (4 if rng.random() < 0.7 else 0), len(text) - 1
    if kind < 0.68:
        return rng.choice(wholes(text))
    if kind < 0.97:
        places = [p for p in range(text.index("("), len(text) - 1) if text[p - 1] in " (.\n[="]
        start = rng.choice(places)
        stop = text.index("\n", start)
        if rng.random() < 0.5:
            inside = [p for p in range(start + 1, stop + 1) if text[p : p + 1] in " )]:,\n."]
            stop = rng.choice(inside) if inside else stop
        return start, stop
    start = rng.randint(4, len(text) - 2)
    return start, rng.randint(start + 1, len(text) - 1)


def body_lines(text: str) -> list[int]:
    """Where the lines of the body begin."""
    lines = [text.index(":\n") + 2]
    while (end := text.find("\n", lines[-1])) >= 0 and end + 1 < len(text):
        lines.append(end + 1)
    return lines


def line_cut(rng: random.Random, text: str) -> tuple[int, int]:
    """A whole line of the body without its indent."""
    start = rng.choice(body_lines(text))
    stop = text.index("\n", start)
    return stop - len(text[start:stop].lstrip()), stop


def wholes(text: str) -> list[tuple[int, int]]:
    """What an editor's user leaves out as a whole: all between two brackets, all that follows a
    keyword or an equals sign up to the end of the line or the colon there."""
    found: list[tuple[int, int]] = []
    opened: list[int] = []
    for place, letter in enumerate(text):
        if letter in "([{":
            opened.append(place + 1)
        elif letter in ")]}" and opened:
            found.append((opened.pop(), place))
    found += [match.span(1) for match in REST_OF_LINE.finditer(text)]
    return [(start, stop) for start, stop in found if start < stop]


def fim_sample_text(rng: random.Random) -> tuple[str, str, str]:
    """Prefix, middle and suffix of one function."""
    text = draw_function(rng)
    start, stop = cut_places(rng, text)
    if rng.random() < 0.3:
        text = text[:-1]
        stop = min(stop, len(text))
    before = ""
    if rng.random() < 0.15:
        before = draw_function(rng) + "\n\n"
    return before + text[:start], text[start:stop], text[stop:]
