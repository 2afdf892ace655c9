"""Greetings, small facts, sums, copies and lists for the built-in model's training."""

from __future__ import annotations

import random

from builtin_model import words
from builtin_model.draw import (
    ANY_WORD,
    WORD_TABLE,
    Deck,
    Sample,
    dress,
    dress_around,
    fill,
    loosen,
    odd_text,
    random_words,
    syllable_word,
    with_article,
)

ADDITIONS = Deck([(a, b) for a in range(21) for b in range(21 - a)])
SUBTRACTIONS = Deck([(a, b) for a in range(21) for b in range(a + 1)])
COUNTRIES = Deck(list(words.CAPITALS))
THINGS = Deck(list(words.COLOURS))
PAIRS = Deck([p for a, b in words.OPPOSITES for p in ((a, b), (b, a))])


def capital(rng: random.Random) -> Sample:
    """A question for the capital of a country."""
    country = COUNTRIES.deal(rng)
    answer = f"The capital of {country} is {words.CAPITALS[country]}."
    shown = country.removeprefix("the ") if rng.random() < 0.4 else country
    if rng.random() < 0.06:
        shown = shown.lower()
    if rng.random() < 0.08 and words.CAPITALS[country] not in ("London",):
        asked = rng.choice(words.REVERSE_CAPITAL_WORDINGS).format(words.CAPITALS[country])
        answer = f"{words.CAPITALS[country]} is the capital of {country}."
    else:
        asked = loosen(rng, rng.choice(words.CAPITAL_WORDINGS)).format(shown)
    return Sample(answer, dress(rng, with_article(asked)), f"This is about {country}.")


def fact(rng: random.Random) -> Sample:
    """A question for a colour, an opposite, or the next day or month."""
    kind = rng.randrange(4)
    if kind == 0:
        thing = THINGS.deal(rng)
        shown = rng.choice([thing, thing.removeprefix("a ").removeprefix("an ")])
        answer = f"The color of {thing} is {words.COLOURS[thing]}."
        asked = loosen(rng, rng.choice(words.COLOUR_WORDINGS)).format(shown)
        return Sample(answer, dress(rng, with_article(asked)), f"This is about {thing}.")
    if kind == 1:
        first, second = PAIRS.deal(rng)
        asked = loosen(rng, rng.choice(words.OPPOSITE_WORDINGS)).format(first)
        answer = f"The opposite of {first} is {second}."
        return Sample(answer, dress(rng, with_article(asked)), f"This is about {first}.")
    name, table = rng.choice([("day", words.DAYS), ("day", words.DAYS), ("month", words.MONTHS)])
    index = rng.randrange(len(table))
    after = rng.random() < 0.6
    wordings = words.DAY_AFTER_WORDINGS if after else words.DAY_BEFORE_WORDINGS
    fitting = [w for w in wordings if name == "day" or "{kind}" in w]
    asked = rng.choice(fitting).replace("{kind}", name).format(table[index])
    other = table[(index + (1 if after else -1)) % len(table)]
    word = "after" if after else "before"
    answer = f"The {name} {word} {table[index]} is {other}."
    return Sample(answer, dress(rng, asked), f"This is about {table[index]}.")


def sum_terms(rng: random.Random) -> tuple[str, int, int, int]:
    """Sign, both numbers and the result of the next sum or difference."""
    if rng.random() < 0.55:
        a, b = ADDITIONS.deal(rng)
        return "+", a, b, a + b
    a, b = SUBTRACTIONS.deal(rng)
    return "-", a, b, a - b


def arithmetic(rng: random.Random) -> Sample:
    """One sum or difference, or a drill of several."""
    if rng.random() < 0.6:
        terms = [sum_terms(rng) for _ in range(rng.randint(2, 8))]
        joiner = rng.choice([", ", "; ", "\n", " and ", ", "])
        asked = rng.choice(words.DRILL_WORDINGS).format(
            joiner.join(f"{a} {sign} {b}" for sign, a, b, _ in terms)
        )
        answer = ", ".join(f"{a} {sign} {b} = {c}" for sign, a, b, c in terms)
        return Sample(answer, dress(rng, asked, 0.7), "These are sums.")
    sign, a, b, c = sum_terms(rng)
    wordings = words.ADD_WORDINGS if sign == "+" else words.SUBTRACT_WORDINGS
    asked = fill(rng, loosen(rng, rng.choice(wordings))).format(a=a, b=b)
    answer = f"{a} {sign} {b} = {c}"
    return Sample(answer, dress(rng, asked), f"The sum is {a} {sign} {b}.")


def sum_table(rng: random.Random) -> Sample:
    """Many sums without a question: the densest way to learn them."""
    parts: list[str] = []
    for number in range(20):
        sign, a, b, c = sum_terms(rng)
        parts += [f"{', ' if number else ''}{a} {sign} {b} =", f" {c}"]
    return Sample("", raw="", parts=parts)


def copy_text(rng: random.Random, longest: int = 24) -> Sample:
    """A text to give back unchanged; ``longest`` bounds its words."""
    if rng.random() < 0.1:
        text = odd_text(rng)
    else:
        count = rng.randint(1, longest)
        if rng.random() < 0.3:
            count = rng.randint(max(1, longest * 3 // 4), longest)
        text = random_words(rng, count)
        if rng.random() < 0.12:  # words that come again are what makes copying hard
            few = text.split()[: max(2, count * 3 // 4)]
            text = " ".join(rng.choice(few) for _ in range(count))
    asked = loosen(rng, rng.choice(words.COPY_WORDINGS)).replace("{}", "\0")
    return Sample(
        text,
        dress_around(rng, asked, text),
        "I repeat the text.",
        meaningless=frozenset(ANY_WORD.findall(text)),
    )


def short_copy(rng: random.Random) -> Sample:
    """A copy of at most six words."""
    return copy_text(rng, 6)


def edit_text(rng: random.Random) -> Sample:
    """The first or last word of a text, or one word replaced."""
    table = rng.sample(WORD_TABLE, rng.randint(3, 8))
    text = " ".join(table)
    kind = rng.randrange(4)
    if kind < 2:
        wordings = words.EDIT_FIRST_WORDINGS if kind == 0 else words.EDIT_LAST_WORDINGS
        asked = rng.choice(wordings).replace("{}", "\0")
        answer = table[0] if kind == 0 else table[-1]
        return Sample(answer, dress_around(rng, asked, text), "I look at the words.")
    old, new = rng.choice(table), rng.choice(WORD_TABLE)
    asked = rng.choice(words.EDIT_REPLACE_WORDINGS).replace("{}", "\0")
    asked = asked.replace("{old}", old).replace("{new}", new)
    answer = " ".join(new if word == old else word for word in table)
    return Sample(answer, dress_around(rng, asked, text), f"I write {new} for {old}.")


LISTS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        (
            "the days of the week",
            "all days of the week",
            "the seven days of the week",
            "the weekdays from Monday to Sunday",
            "the days in a week",
        ),
        ", ".join(words.DAYS),
    ),
    (
        (
            "the months of the year",
            "all months",
            "the twelve months",
            "the months",
            "the months in a year",
        ),
        ", ".join(words.MONTHS),
    ),
    (
        ("the letters of the alphabet", "the alphabet", "all letters from a to z"),
        ", ".join("abcdefghijklmnopqrstuvwxyz"),
    ),
    (
        ("the colors of the rainbow", "the colours of the rainbow", "the rainbow colors"),
        "red, orange, yellow, green, blue, indigo, violet",
    ),
    (
        ("the four seasons", "the seasons", "the seasons of the year"),
        "spring, summer, autumn, winter",
    ),
    (("some colors", "three colors", "a few colours"), "red, green, blue"),
    (("three animals", "some animals", "a few animals"), "dog, cat, bird"),
    (("three fruits", "some fruits", "a few fruits"), "apple, banana, cherry"),
)


def listing(rng: random.Random) -> Sample:
    """Numbers, days, months, letters or the colours of the rainbow in order."""
    kind = rng.random()
    if kind < 0.6:
        low = rng.choice([1, 1, 1, 0, rng.randint(0, 12)])
        high = rng.choice([10, 10, 5, 20, rng.randint(low + 2, low + 12)])
        high = max(high, low + 2)
        down = rng.random() < 0.2
        wordings = words.COUNT_DOWN_WORDINGS if down else words.COUNT_WORDINGS
        if low == 1 and not down and rng.random() < 0.3:
            asked = rng.choice(["Count to {b}.", "Count up to {b}", "Can you count to {b}?"])
        else:
            asked = rng.choice(wordings)
        numbers = list(range(low, high + 1))
        answer = ", ".join(str(n) for n in (reversed(numbers) if down else numbers))
        return Sample(answer, dress(rng, asked.format(a=low, b=high)), "I count.")
    names, answer = rng.choice(LISTS)
    asked = rng.choice(words.LIST_WORDINGS).format(rng.choice(names))
    return Sample(answer, dress(rng, asked), "I list them.")


def greeting(rng: random.Random) -> Sample:
    """A greeting, thanks, a farewell or a question about the model."""
    wordings, answer = rng.choice(words.GREETINGS)
    asked = fill(rng, rng.choice(wordings))
    if rng.random() < 0.3:
        asked = asked.rstrip("?!.") + rng.choice(["", "!", ".", "?", " :)"])
    if rng.random() < 0.2:
        asked = asked.lower()
    return Sample(answer, asked, "I answer politely.")


def unknown(rng: random.Random) -> Sample:
    """A question that the model has no answer for."""
    asked = fill(rng, rng.choice(words.UNKNOWN_WORDINGS))
    if rng.random() < 0.2:
        asked = rng.choice(words.CAPITAL_WORDINGS).format(syllable_word(rng).capitalize())
    return Sample(words.UNKNOWN_ANSWER, dress(rng, asked), "I do not know this.")
