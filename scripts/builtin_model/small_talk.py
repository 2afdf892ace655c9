"""Greetings, thanks, farewells, questions about the model and counting, composed from parts.

Whole sentences in a table are learned by heart; of these, hardly one comes twice.
"""

# ruff: noqa: SIM905 - word lists read better as text

from __future__ import annotations

import random

from builtin_model.draw import Sample, fill, loosen

# fmt: off

NUMBERS: tuple[str, ...] = tuple(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen twenty""".split()
)

HELLO: tuple[tuple[str, ...], ...] = (
    (
        "hello", "hi", "hey", "good morning", "good day", "good evening", "good afternoon",
        "greetings", "howdy", "hiya", "hello again", "hi again", "morning", "hello hello", "yo",
        "welcome", "a good morning", "a very good evening", "hallo", "hey hey", "well hello",
        "hello", "hi", "hey", "hello", "hi", "hey",
    ),
    (
        "", "", "", " there", " {name}", " everyone", " all", " my {adjective} friend", " dear",
        " little model", " robot", " computer", " to all", " to everybody", " to you all",
        " from {name}", " from the {noun}", " assistant", " dear assistant", " you", " you two",
        " buddy", " old friend", " again", " world", " {adjective} one", " to you and {name}",
    ),
    (
        "", "", "", ", good to see you", ", glad to meet you", ", pleased to meet you",
        ", great to talk to you", ", a pleasure to meet you", ", I am {name}", "! Nice to see you",
        ", happy to chat with you", ", so nice to talk with you", "! My name is {name}",
        ". It is good to meet you", ", lovely to meet someone {adjective}", ", nice meeting you",
        ", how nice to see you", ", very nice that you are here", ", I just wanted to say hello",
    ),
)
MEETING: tuple[tuple[str, ...], ...] = (
    (
        "nice", "good", "great", "lovely", "so good", "a pleasure", "an honor", "wonderful",
        "it is nice", "I am glad", "I am happy", "so happy", "glad", "pleased", "delighted",
    ),
    (
        " to see you", " to meet you", " to talk to you", " to be here", " to chat with you",
        " to know you", " to see you again", " to hear from you",
    ),
    ("", "", "", " here", ", {name}", ", my friend", " at last", ", hello", ", hi there", " too"),
)
WELL: tuple[tuple[str, ...], ...] = (
    ("", "", "", "", "hello, ", "hi, ", "hey, ", "so ", "and ", "hey {name}, ", "good morning, "),
    (
        "how are you", "how are you doing", "how are you feeling", "how do you feel",
        "how is it going", "how are things", "how is your day", "how is life", "how have you been",
        "are you well", "are you fine", "are you ok", "are you feeling good", "you ok",
        "how is everything", "is everything fine", "how was your {noun}", "how do you do",
        "how are you getting on", "how is your {noun}", "how goes it", "are you doing well",
        "is all well with you", "how are things with you", "are you good", "feeling well",
    ),
    (
        "", "", "", "", " this morning", " so far", " now", " these days", " over there", " then",
        " tonight", " this evening", " right now", " at the moment", ", {name}", ", my friend",
        " today", " this week", " again", " on this {adjective} day", " lately",
    ),
)
THANKS: tuple[tuple[str, ...], ...] = (
    (
        "thank you", "thanks", "many thanks", "thanks a lot", "thank you very much", "thx",
        "thank you so much", "big thanks", "a thousand thanks", "I thank you", "thanks so much",
        "oh thank you", "great, thank you", "perfect, thanks", "ok thanks", "cool, thank you",
        "I want to thank you", "I am grateful", "thank you kindly", "thanks very much",
    ),
    (
        "", "", " for that", " for your answer", " for your time", " for everything",
        " for the quick answer", " for your work", " for helping me", " for helping", " for it all",
        " for the help", " for this {adjective} answer", " for the {noun}", " for your advice",
        " for all your {noun}s", " again", " for your kind help", " for being here",
    ),
    (
        "", "", "", ", {name}", ", that was {adjective}", ", that was helpful", ", my friend",
        ", I appreciate it", ", you are great", ", very kind", ", you helped me a lot", ", really",
    ),
)
FAREWELL: tuple[tuple[str, ...], ...] = (
    ("", "", "", "", "ok, ", "well, ", "thanks, ", "that is all, ", "so, ", "alright, "),
    (
        "bye", "goodbye", "good bye", "see you", "good night", "farewell", "take care", "bye bye",
        "talk to you later", "catch you later", "see you around", "I have to go", "I must go",
        "I am leaving", "I am off", "I need to leave", "time to go", "until next time", "so long",
        "have a nice day", "have a good evening", "have a {adjective} day", "sleep well",
        "goodbye", "bye", "goodbye my friend", "I say goodbye", "let us say goodbye",
    ),
    (
        "", "", "", "", " now", " for today", " then", " tomorrow", " soon", " later", " everyone",
        ", {name}", ", my friend", " and thank you", " and take care", " until tomorrow",
        " for the moment", " for now", " and good night", " again", " dear", " little model",
    ),
)
WHO: tuple[tuple[str, ...], ...] = (
    ("", "", "", "", "", "hello, ", "hey, ", "so ", "and ", "sorry, ", "wait, ", "excuse me, "),
    (
        "who are you", "who is there", "who is that", "who is it", "who is speaking",
        "who is talking", "who is answering", "who is writing", "who am I talking to",
        "who am I speaking with", "who do I talk to", "who is on the line", "what are you",
        "what is your name", "what's your name", "do you have a name", "what are you called",
        "who is talking to me", "who is helping me", "who is at the other end", "your name",
        "which model are you", "what kind of model are you", "what sort of machine are you",
        "are you a robot", "are you a person", "are you human", "are you a machine",
        "are you a program", "which program are you", "which assistant are you", "and you are",
        "say who you are", "tell me who you are", "tell me your name", "tell me what you are",
        "may I ask who you are", "may I know your name", "I wonder who you are",
        "I want to know who you are", "could you say who you are", "can you say your name",
        "do you know who you are", "could you tell me your name", "would you tell me what you are",
        "can you tell me what your name is", "please tell me who is there", "introduce yourself",
        "could you introduce yourself", "what should I call you", "how should I call you",
        "who wrote that", "who said that", "who is this model", "who is this assistant",
    ),
    (
        "", "", "", "", "", " now", " really", ", please", " again", " exactly", " then",
        ", {name}", " today", ", my friend", ", if I may ask",
    ),
)
TALK: tuple[tuple[tuple[tuple[str, ...], ...], str], ...] = (
    (HELLO, "Hello! How can I help you?"),
    (HELLO, "Hello! How can I help you?"),
    (MEETING, "Hello! How can I help you?"),
    (WELL, "I am fine, thank you. How can I help you?"),
    (THANKS, "You are welcome!"),
    (FAREWELL, "Goodbye!"),
    (WHO, "I am localserve tiny, a very small language model."),
)

ASKING: tuple[str, ...] = (
    "", "", "", "please ", "could you ", "can you ", "would you ", "I want you to ", "will you ",
    "now ", "let us ", "try to ", "could you please ", "I would like you to ", "go and ", "kindly ",
    "hello, please ", "can you please ", "hey, could you ",
)
COUNTING: tuple[str, ...] = (
    "count", "count", "count", "count up", "list the numbers", "list all numbers",
    "say the numbers", "write the numbers", "name the numbers", "give me the numbers",
    "write down all the numbers", "count for me", "show the numbers", "tell me the numbers",
    "write all numbers", "count aloud",
)
RANGES: tuple[str, ...] = (
    "from {a} to {b}", "from {a} to {b}", "from {a} to {b}", "{a} to {b}", "from {a} up to {b}",
    "from {a} until {b}", "from {a} through {b}", "starting at {a} and ending at {b}",
    "beginning with {a} up to {b}", "from {aw} to {bw}", "from {aw} to {bw}: {a} to {b}",
    "from {aw} to {bw} ({a} to {b})", "from {a} till {b}", "between {a} and {b}",
)
ENDINGS: tuple[str, ...] = (
    "", ".", ".", "?", "?", ", please", ", please.", ", please?", " please", " please?", " for me",
    " for me.", " for me?", " now", ", thanks", ", thank you.", " in order", " one by one", "!",
    " for me, please?", " for the {noun}", " and then stop", ", {name}", " with commas",
)

# fmt: on


def spoken(rng: random.Random, text: str) -> str:
    """A sentence as people type it: a word more or less, any case and mark."""
    text = fill(rng, loosen(rng, text) if rng.random() < 0.4 else text)
    parts = text.split(" ")
    if len(parts) > 3 and rng.random() < 0.08:
        del parts[rng.randrange(1, len(parts))]
        text = " ".join(parts)
    if rng.random() < 0.7:
        text = text[:1].upper() + text[1:]
    return text


def small_talk(rng: random.Random) -> Sample:
    """A composed greeting, thanks, farewell or question about the model."""
    tables, answer = rng.choice(TALK)
    text = spoken(rng, "".join(map(rng.choice, tables)))
    asks = tables in (WELL, WHO)
    marks = ("?", "?", "?", "", ".", "!") if asks else ("", "", "!", "!", ".", ".", " :)", "!!")
    text = text.rstrip(".") + rng.choice(marks)
    return Sample(answer, text, "I answer politely.")


def count_up(rng: random.Random) -> Sample:
    """Numbers from one to another, at most twelve further."""
    low = rng.choice((1, rng.randint(0, 9), rng.randint(0, 30)))
    high = rng.choice((10, low + rng.randint(2, 12), low + rng.randint(3, 8)))
    high = max(high, low + 2)
    places = rng.choice(RANGES if high < len(NUMBERS) else RANGES[:7])
    named: dict[str, int | str] = {"a": low, "b": high}
    if high < len(NUMBERS):
        named |= {"aw": NUMBERS[low], "bw": NUMBERS[high]}
    asked = f"{rng.choice(ASKING)}{rng.choice(COUNTING)} {places.format(**named)}"
    asked = asked + fill(rng, rng.choice(ENDINGS))
    if rng.random() < 0.7:
        asked = asked[:1].upper() + asked[1:]
    return Sample(", ".join(map(str, range(low, high + 1))), asked, "I count.")
