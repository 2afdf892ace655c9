"""Where an answer goes on."""

from __future__ import annotations

import pytest

from localserve.chat import Message
from localserve.prompting.output.format import Addressed, OutputFormat, Span
from localserve.prompting.output.start import begun_text

HEADER = "<|im_start|>assistant\n"
THINKING = OutputFormat(header=HEADER)
BEFORE = "<|im_start|>user\nWhat is <think>?<|im_end|>\n"


@pytest.mark.parametrize(
    ("behind", "begun"),
    [
        ("", ""),
        ("<think>\n", "<think>"),
        ("<think>\nHere I think:\n", "<think>\nHere I think:"),
        ("<think>\n\n</think>\n\n", ""),
    ],
)
def test_the_prompt_may_have_opened_reasoning(behind: str, begun: str) -> None:
    assert begun_text(THINKING, BEFORE + HEADER + behind, None) == begun


def test_what_users_and_tools_say_opens_nothing() -> None:
    assert (
        begun_text(THINKING, HEADER + "<tool>" + "x" * 300 + "<think> is a tag</tool>", None) == ""
    )
    assert begun_text(OutputFormat(), "[INST]What is <think>?[/INST]", None) == ""


def test_a_model_without_a_header_may_be_told_to_think() -> None:
    assert begun_text(OutputFormat(), "[INST]Hi[/INST]<think>\n", None) == "<think>"


def test_content_that_is_continued_is_content() -> None:
    prompt = BEFORE + HEADER + "<think>\nSo.\n</think>\n\nHel"
    assert begun_text(THINKING, prompt, Message("assistant", "Hel", reasoning="So.")) == "Hel"


def test_reasoning_that_is_continued_is_reasoning_where_the_template_shows_it() -> None:
    prefill = Message("assistant", "", reasoning="So")
    assert begun_text(THINKING, HEADER + "<think>\nSo", prefill) == "<think>So"
    assert begun_text(THINKING, HEADER, prefill) == ""


def test_reasoning_without_an_opening_is_closed_before_content() -> None:
    format = OutputFormat(header="<|a|>", reasoning=Span("", "[ANSWER]"))
    assert begun_text(format, "<|u|>Hi<|a|>", None) == ""
    assert begun_text(format, "<|u|>Hi<|a|>[ANSWER]", None) == "[ANSWER]"
    prefill = Message("assistant", "Hel")
    assert begun_text(format, "<|u|>Hi<|a|>[ANSWER]Hel", prefill) == "[ANSWER]Hel"


def test_of_addressed_messages_the_last_one_is_gone_on_with() -> None:
    format = OutputFormat(
        header="<|start|>assistant", addressed=Addressed("<|start|>", "<|message|>")
    )
    prompt = "<|start|>assistant<|x|>a<|end|><|start|>assistant<|channel|>final<|message|>Hel"
    assert begun_text(format, prompt, Message("assistant", "Hel")) == (
        "<|channel|>final<|message|>Hel"
    )
