"""Answers that are kept within a constraint, whatever the model would rather say."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from localserve.engine.constraint import ConstraintFailed
from localserve.engine.engine import Mailbox
from localserve.engine.scripted import END, ScriptedRunner
from localserve.engine.sequence import Broken, Ended, GenerateRequest
from localserve.errors import GrammarFailed
from tests.engine.rig import Rig, request
from tests.engine.test_engine import engine_of, error_of, take_all, text_of


@dataclass
class OneOf:
    """Allows one of several texts; counts what it was told. `fails_at` is where it breaks."""

    texts: tuple[bytes, ...]
    said: bytes = b""
    fails_at: int | None = None

    def allows(self, token: int) -> bool:
        if token == END:
            return self.said in self.texts
        return self._begins(self.said + bytes([token]))

    def restrict(self, row: npt.NDArray[np.float32]) -> None:
        for token in range(END + 1):
            if not self.allows(token):
                row[token] = -np.inf

    def accept(self, token: int) -> None:
        if self.fails_at == len(self.said):
            raise ConstraintFailed("it became too complex")
        assert self.allows(token), "a token that is not allowed was taken"
        if token != END:
            self.said += bytes([token])

    @property
    def complete(self) -> bool:
        return self.said in self.texts and not any(
            text.startswith(self.said) and text != self.said for text in self.texts
        )

    def _begins(self, said: bytes) -> bool:
        return any(text.startswith(said) for text in self.texts)


def constrained(prompt: bytes, *texts: bytes, **fields: int) -> GenerateRequest:
    return replace(request(prompt), constraint=lambda: OneOf(texts), **fields)


def answered(*texts: bytes, prompt: bytes = b"\nyes\n") -> str:
    rig = Rig()
    sequence = rig.submit(constrained(prompt, *texts))
    rig.finish()
    assert rig.ended(sequence).reason == "stop"
    return rig.text(sequence)


def test_what_may_be_said_is_said() -> None:
    assert answered(b"yes", b"no") == "yes"


def test_something_else_is_said_where_the_models_word_is_refused() -> None:
    assert answered(b"no") == "no"


def test_an_answer_that_may_go_on_ends_where_the_model_ends_it() -> None:
    assert answered(b"yes", b"yes, indeed") == "yes"


def test_an_answer_does_not_end_before_it_is_allowed_to() -> None:
    assert answered(b"yes, indeed") == "yes, indeed"


def test_an_answer_ends_at_once_where_nothing_may_follow() -> None:
    rig = Rig()
    sequence = rig.submit(constrained(b"\nyes and no\n", b"yes"))
    rig.finish()
    assert (rig.text(sequence), rig.ended(sequence).completion_tokens) == ("yes", 3)


def test_a_limit_of_tokens_cuts_a_constrained_answer_too() -> None:
    rig = Rig()
    sequence = rig.submit(constrained(b"\nyes\n", b"no, never", max_tokens=4))
    rig.finish()
    assert (rig.text(sequence), rig.ended(sequence).reason) == ("no, ", "length")


def test_a_stop_string_ends_a_constrained_answer() -> None:
    rig = Rig()
    asked = constrained(b"\nyes\n", b"no, never")
    sequence = rig.submit(replace(asked, stop=(",",)))
    rig.finish()
    assert (rig.text(sequence), rig.ended(sequence).stopped_by) == ("no", ",")


def test_log_probabilities_are_those_of_the_tokens_that_were_taken() -> None:
    rig = Rig()
    sequence = rig.submit(replace(constrained(b"\nyes\n", b"no"), top_logprobs=1))
    rig.finish()
    scored = [one for event in rig.events[0] for one in getattr(event, "scored", ())]
    assert [one.score.token for one in scored] == list(b"no")
    assert rig.text(sequence) == "no"


def test_a_paused_answer_goes_on_where_its_constraint_is() -> None:
    rig = Rig(ScriptedRunner(cells=2_500))
    texts = [letter * 700 for letter in (b"a", b"b")]
    for text in texts:
        rig.submit(constrained(b"\n" + text.upper() + b"\n", text))
    rig.finish()
    assert max(one.pauses for one in rig.sequences) > 0
    assert [rig.text(one) for one in rig.sequences] == [text.decode() for text in texts]


def test_guessed_tokens_are_held_against_the_constraint() -> None:
    prompt = b"say abcdefgh abcdefgh\nabcdefgh abcdefgh\n"
    rig = Rig(ScriptedRunner(guess_tokens=8))
    sequence = rig.submit(constrained(prompt, b"abcdefgh abcdeXYZ"))
    rig.finish()
    assert rig.text(sequence) == "abcdefgh abcdeXYZ"
    assert rig.runner.steps < len("abcdefgh abcdeXYZ"), "nothing was guessed right"


def test_no_guess_is_taken_behind_the_end_of_a_constrained_answer() -> None:
    prompt = b"abcdefgh abcdefgh\nabcdefgh abcdefgh\n"
    rig = Rig(ScriptedRunner(guess_tokens=8))
    sequence = rig.submit(constrained(prompt, b"abcdef"))
    rig.finish()
    assert rig.text(sequence) == "abcdef"
    assert rig.ended(sequence).completion_tokens == 6


async def test_each_choice_has_a_constraint_of_its_own() -> None:
    made: list[OneOf] = []

    def make() -> OneOf:
        made.append(OneOf((b"no, never",)))
        return made[-1]

    asked = replace(request(b"\nyes\n"), constraint=make)
    async with engine_of(ScriptedRunner()) as engine:
        mailbox = Mailbox()
        numbers = engine.submit_all([asked] * 3, mailbox)
        events = await take_all(mailbox, 3)
    assert [text_of(events[number]) for number in numbers] == ["no, never"] * 3
    assert [one.said for one in made] == [b"no, never"] * 3


async def test_a_constraint_that_fails_breaks_its_own_answer_and_no_other() -> None:
    failing = replace(request(b"\nyes\n"), constraint=lambda: OneOf((b"yes",), fails_at=2))
    async with engine_of(ScriptedRunner()) as engine:
        mailbox = Mailbox()
        broken, whole = engine.submit_all([failing, request(b"\nhello\n")], mailbox)
        events = await take_all(mailbox, 2)
        assert isinstance(error_of(events[broken]), GrammarFailed)
        assert "it became too complex" in str(error_of(events[broken]))
        assert text_of(events[whole]) == "hello"
        later = engine.submit(request(b"\nagain\n"), mailbox)
        assert text_of((await take_all(mailbox))[later]) == "again"


async def test_a_constraint_that_cannot_be_made_breaks_its_own_answer_and_no_other() -> None:
    def fail() -> OneOf:
        raise RuntimeError("no memory")

    async with engine_of(ScriptedRunner()) as engine:
        mailbox = Mailbox()
        broken = engine.submit(replace(request(b"\nyes\n"), constraint=fail), mailbox)
        events = (await take_all(mailbox))[broken]
        assert isinstance(events[-1], Broken)
        later = engine.submit(request(b"\nagain\n"), mailbox)
        assert isinstance((await take_all(mailbox))[later][-1], Ended)


async def test_an_answer_for_which_no_token_is_left_is_broken_and_nothing_is_let_through() -> None:
    async with engine_of(ScriptedRunner()) as engine:
        mailbox = Mailbox()
        number = engine.submit(constrained(b"\nyes\n"), mailbox)
        events = (await take_all(mailbox))[number]
    assert isinstance(error_of(events), GrammarFailed)
    assert text_of(events) == ""
