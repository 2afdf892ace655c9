"""Held-out prompts for the evaluation of the built-in model.

No wording, request, function or text in this file is used in training (``held_back`` keeps the
drawn ones apart); the facts that are asked for (capitals, sums) are the same, as there is no other
way to know them, and so are the names of three tools that are what most people try first:
``get_weather``, ``add`` and ``search``. The other tools are none of training's.
"""

# ruff: noqa: SIM905 - word lists read better as text

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

CAPITALS: tuple[tuple[str, str], ...] = (
    ("France", "Paris"),
    ("Germany", "Berlin"),
    ("Italy", "Rome"),
    ("Spain", "Madrid"),
    ("Portugal", "Lisbon"),
    ("Ireland", "Dublin"),
    ("Norway", "Oslo"),
    ("Sweden", "Stockholm"),
    ("Finland", "Helsinki"),
    ("Denmark", "Copenhagen"),
    ("Poland", "Warsaw"),
    ("Austria", "Vienna"),
    ("Hungary", "Budapest"),
    ("Greece", "Athens"),
    ("Turkey", "Ankara"),
    ("Russia", "Moscow"),
    ("Ukraine", "Kyiv"),
    ("Romania", "Bucharest"),
    ("Bulgaria", "Sofia"),
    ("Belgium", "Brussels"),
    ("Switzerland", "Bern"),
    ("the Netherlands", "Amsterdam"),
    ("Czechia", "Prague"),
    ("Croatia", "Zagreb"),
    ("Iceland", "Reykjavik"),
    ("Egypt", "Cairo"),
    ("Kenya", "Nairobi"),
    ("Morocco", "Rabat"),
    ("Japan", "Tokyo"),
    ("China", "Beijing"),
    ("India", "New Delhi"),
    ("Thailand", "Bangkok"),
    ("Vietnam", "Hanoi"),
    ("Australia", "Canberra"),
    ("Canada", "Ottawa"),
    ("Mexico", "Mexico City"),
    ("Brazil", "Brasilia"),
    ("Argentina", "Buenos Aires"),
    ("Chile", "Santiago"),
    ("Peru", "Lima"),
    ("Cuba", "Havana"),
    ("South Korea", "Seoul"),
)
CAPITAL_WORDINGS: tuple[str, ...] = (
    "Could you please tell me what the capital of {} is?",
    "Which city is {}'s capital city?",
    "My daughter wants to learn the capital of {}. Which city is it?",
    "Please name the capital city of {} for me.",
    "Hi! I'd like to know the capital of {}.",
    "In one word: the capital of {}?",
    "what's {}'s capital city called",
    "Geography quiz! The capital of {} is which city?",
    "Remind me, what is the capital of {}?",
    "I can't remember the capital of {}, can you?",
)
ADD_WORDINGS: tuple[str, ...] = (
    "Could you please tell me what {a} plus {b} equals?",
    "Hey, how much does {a} + {b} make?",
    "Please find the sum of {a} and {b}.",
    "My homework says {a} + {b}. What is the result?",
    "If you add {a} to {b}, what is the total?",
    "{a} plus {b} equals?",
    "What number do I get from {a} + {b}?",
    "Maths: {a} + {b}",
)
SUBTRACT_WORDINGS: tuple[str, ...] = (
    "Could you please tell me what {a} minus {b} equals?",
    "Hey, how much does {a} - {b} make?",
    "Please take {b} from {a}.",
    "My homework says {a} - {b}. What is the result?",
    "If you subtract {b} from {a}, what remains?",
    "{a} minus {b} equals?",
    "What number do I get from {a} - {b}?",
    "Maths: {a} - {b}",
)
COPY_WORDINGS: tuple[str, ...] = (
    "Please copy the following twenty words exactly: {}",
    "Repeat these words for me: {}",
    "Could you repeat the following text? {}",
    "Echo the following back to me: {}",
    "Please write out these words again, in the same order: {}",
    "Now say: {}",
    'Please repeat the following words exactly as they are: "{}"',
    "Copy the words below.\n\n{}",
    "Give this text back to me without any change: {}",
    "Please echo these words: {}",
)
COPY_WORDS: tuple[str, ...] = tuple(
    """anchor banjo cactus dagger easel falcon goblet hornet igloo jungle kettle lizard magnet
noodle otter parrot quartz ribbon saddle temple umbrella velvet walnut yogurt zipper badge cliff
ditch elbow ferry glacier hazel ivory jacket lemon marble nickel olive pebble quilt raven sponge
tulip urchin violin whistle apple river table house music green water happy seven paper orange
window silver garden dragon purple sister coffee""".split()
)
JSON_WORDINGS: tuple[str, ...] = (
    "Please give me a JSON object following this schema: {schema}\nThe values: {facts}.",
    "Produce JSON according to the schema {schema} from this sentence: {facts}.",
    "I have this JSON schema: {schema}\nPlease write the object where {facts}.",
    "Write the following as a JSON object: {facts}. The schema is {schema}",
    "Please encode as JSON that {facts}, following {schema}",
)
JSON_FIELDS: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
    ("name", "string", ("Marta", "Otto", "Lena", "Hugo")),
    ("age", "integer", (7, 23, 41, 68)),
    ("city", "string", ("Turin", "Ghent", "Basel", "Quito")),
    ("member", "boolean", (True, False)),
    ("animal", "string", ("otter", "parrot", "zebra")),
    ("score", "integer", (12, 95, 340)),
    ("finished", "boolean", (True, False)),
    ("floor", "integer", (3, 14)),
    ("job", "string", ("nurse", "tailor", "judge")),
    ("visible", "boolean", (True, False)),
)


@dataclass(frozen=True)
class HeldOutTool:
    """A tool, requests for it and the values to put in."""

    name: str
    description: str
    parameters: tuple[tuple[str, str], ...]
    requests: tuple[str, ...]
    values: tuple[tuple[Any, ...], ...]


TOOLS: tuple[HeldOutTool, ...] = (
    HeldOutTool(
        "get_weather",
        "Returns the current weather for a city",
        (("city", "string"),),
        (
            "Could you check what the weather is like in {} right now?",
            "Please tell me about the weather in {} today.",
        ),
        (("Turin",), ("Ghent",), ("Basel",), ("Quito",), ("Paris",), ("Tokyo",)),
    ),
    HeldOutTool(
        "add",
        "Adds two integers",
        (("a", "integer"), ("b", "integer")),
        ("Could you please add {} and {} for me?", "Please work out {} plus {}."),
        ((17, 25), (3, 9), (140, 62), (8, 8)),
    ),
    HeldOutTool(
        "search",
        "Searches the internet",
        (("query", "string"),),
        ("Could you search the internet for {}?", "Please look for {} on the web."),
        (("blue velvet curtains",), ("walnut cake",), ("cheap ferry tickets",)),
    ),
    HeldOutTool(
        "water_garden",
        "Waters the garden",
        (("minutes", "integer"),),
        (
            "Could you water the garden for {} minutes?",
            "Please water the garden, minutes should be {}.",
        ),
        ((5,), (12,), (30,)),
    ),
    HeldOutTool(
        "create_ticket",
        "Creates a support ticket",
        (("title", "string"), ("level", "integer")),
        (
            'Please create a ticket titled "{}" with level {}.',
            "Create a new ticket, title {} and level {}, thank you.",
        ),
        (("broken kettle", 3), ("no water", 1), ("login fails", 2)),
    ),
    HeldOutTool(
        "find_recipe",
        "Finds a recipe",
        (("dish", "string"),),
        ("Could you find a recipe for {}?", "Please find me the recipe of {}."),
        (("noodle soup",), ("walnut cake",), ("pancakes",)),
    ),
)
FUNCTIONS: tuple[tuple[str, str, str], ...] = (
    ("def add(a, b):\n    ", "return a + b", "\n"),
    ("def add(a, b):\n    return ", "a + b", "\n"),
    ("def triple(value):\n    ", "return value * 3", "\n"),
    ("def is_positive(number):\n    return ", "number > 0", "\n"),
    ("def larger(a, b):\n    if a > b:\n        ", "return a", "\n    return b\n"),
    ("def larger(a, b):\n    if ", "a > b", ":\n        return a\n    return b\n"),
    (
        "def total(prices):\n    result = 0\n    for price in prices:\n        ",
        "result += price",
        "\n    return result\n",
    ),
    (
        "def total(prices):\n    ",
        "result = 0",
        "\n    for price in prices:\n        result += price\n    return result\n",
    ),
    ("def mean(values):\n    return sum(values) / ", "len(values)", "\n"),
    ("def squares(numbers):\n    return [", "n * n for n in numbers", "]\n"),
    ("def greet(person):\n    return ", '"Hello " + person', "\n"),
    ("def subtract(x, y):\n    difference = ", "x - y", "\n    return difference\n"),
    (
        "def evens(numbers):\n    found = []\n    for n in numbers:\n        if n % 2 == 0:\n"
        "            ",
        "found.append(n)",
        "\n    return found\n",
    ),
    (
        "def last_item(items):\n    if not items:\n        ",
        "return None",
        "\n    return items[-1]\n",
    ),
    ("def shout(text):\n    return text.", "upper()", "\n"),
    ("def multiply(", "a, b", "):\n    return a * b\n"),
    ("def area(width, height):\n    # area of a rectangle\n    return ", "width * height", "\n"),
    ("def count_down(n):\n    while n > 0:\n        print(n)\n        ", "n -= 1", "\n"),
    ("class Dog:\n    def __init__(self, name):\n        ", "self.name = name", "\n"),
    (
        "def factorial(n):\n    result = 1\n    for i in range(1, n + 1):\n        ",
        "result *= i",
        "\n    return result\n",
    ),
    ("def half(number: int) -> float:\n    ", "return number / 2", "\n"),
    ("def difference(a: int, b: int) -> int:\n    ", "return a - b", "\n"),
    (
        "def contains(items, wanted):\n    for item in items:\n        if ",
        "item == wanted",
        ":\n            return True\n    return False\n",
    ),
    (
        "def smallest(values):\n    best = values[0]\n    for value in values:\n"
        "        if value < best:\n            ",
        "best = value",
        "\n    return best\n",
    ),
    ("import math\n\n\ndef circle(radius):\n    return ", "math.pi * radius", "\n"),
)
PLAIN: tuple[tuple[str, str], ...] = (
    ("Hello, nice to meet you!", "Hello|welcome|help"),
    ("hi there friend", "Hello|help"),
    ("Good morning to you", "Hello|help"),
    ("How are you doing today?", "fine|help"),
    ("Thank you so much for your help!", "welcome"),
    ("Goodbye for now", "Goodbye"),
    ("Can you tell me who you are?", "localserve"),
    ("Who is this?", "localserve"),
    ("Please tell me what the opposite of hot is.", "cold"),
    ("The opposite of big, please?", "small"),
    ("Which color does grass have?", "green"),
    ("Please tell me the colour of snow.", "white"),
    ("Please tell me which day comes after Friday.", "Saturday"),
    ("Could you tell me what day follows Sunday?", "Monday"),
    ("Please count from one to ten: 1 to 10", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10"),
    ("Please list all the days of the week for me.", "Monday, Tuesday, .*Saturday, Sunday"),
    ("Could you count from 1 to 10 for me?", "1, 2, 3, 4, 5, 6, 7, 8, 9, 10$"),
    ("Could you count from 3 to 8, please?", "^3, 4, 5, 6, 7, 8$"),
)
SYSTEMS: tuple[str | None, ...] = (
    None,
    None,
    "You are a helpful assistant.",
    "You are a careful and friendly assistant.",
    "You are a kind helper. Keep your answers short.",
)
