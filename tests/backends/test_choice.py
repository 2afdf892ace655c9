"""One choice of an answer, from the model's text to chat events."""

from __future__ import annotations

from localserve.backends.choice import CALL_ID_CHARACTERS, Choice
from localserve.chat import (
    ArgumentsDelta,
    ChatEvent,
    Finished,
    FinishReason,
    ReasoningDelta,
    TextDelta,
    Timings,
    TokenLogprob,
    ToolCallBegun,
    Usage,
)
from localserve.engine.sequence import Ended
from localserve.prompting.output.families import HERMES
from localserve.prompting.output.format import OutputFormat
from localserve.prompting.output.parser import AnswerParser

CALL = '<tool_call>{"name": "look", "arguments": {}}</tool_call>'


def ended(reason: FinishReason = "stop") -> Ended:
    return Ended(reason, None, 1, 0, 0.0, 0.0, 0.0)


def choice(number: int = 0) -> Choice:
    return Choice(number, AnswerParser(OutputFormat(calls=HERMES), {"look": None}))


def token(text: str) -> TokenLogprob:
    return TokenLogprob(1, text, text.encode(), -0.5)


def test_an_answer_with_calls_ends_with_them() -> None:
    one = choice(2)
    events = [
        *one.take(f"<think>So.</think>Hm. {CALL}", (), ()),
        *one.end(ended(), Usage(0, 0), Timings()),
    ]
    call = next(event for event in events if isinstance(event, ToolCallBegun))
    assert len(call.id) == CALL_ID_CHARACTERS
    assert events == [
        ReasoningDelta(2, "So."),
        TextDelta(2, "Hm."),
        ToolCallBegun(2, 0, call.id, "look"),
        ArgumentsDelta(2, 0, "{}"),
        Finished(2, "tool_calls"),
    ]


def test_an_answer_that_was_cut_says_so_although_it_has_calls() -> None:
    one = choice()
    assert list(one.take(CALL, (), ()))
    assert list(one.end(ended("length"), Usage(0, 0), Timings())) == [Finished(0, "length")]


def test_ids_of_calls_differ() -> None:
    one = choice()
    events = one.take(CALL + CALL, (), ())
    ids = [event.id for event in events if isinstance(event, ToolCallBegun)]
    assert len(set(ids)) == 2


def test_log_probabilities_are_those_of_the_content() -> None:
    one = choice()
    pieces = ["<think>", "So.", "</think>", "Yes", " ", "no", " <tool"]
    events: list[ChatEvent] = []
    for piece in pieces:
        events += one.take(piece, (), (token(piece),))
    events += one.end(ended(), Usage(0, 0), Timings())
    texts = [event for event in events if isinstance(event, TextDelta)]
    assert "".join(text.text for text in texts) == "Yes no <tool"
    told = [one.text for text in texts for one in text.logprobs]
    assert told == ["Yes", " ", "no", " <tool"]


def test_a_second_call_is_left_out_where_one_is_enough() -> None:
    one = Choice(0, AnswerParser(OutputFormat(calls=HERMES), {"look": None}), parallel=False)
    events = [*one.take(CALL + CALL, (), ()), *one.end(ended(), Usage(0, 0), Timings())]
    calls = [event for event in events if isinstance(event, ToolCallBegun | ArgumentsDelta)]
    assert [call.index for call in calls] == [0, 0]
    assert events[-1] == Finished(0, "tool_calls")


def test_of_a_forced_call_that_was_cut_in_its_name_nothing_is_told() -> None:
    parser = AnswerParser(OutputFormat(calls=HERMES), {"look": None}, calls_only=True)
    one = Choice(0, parser)
    events: list[ChatEvent] = []
    for piece in ("<tool_call>", '{"name": "lo'):
        events += one.take(piece, (), (token(piece),))
    events += one.end(ended("length"), Usage(0, 0), Timings())
    assert events == [Finished(0, "length")]
