from __future__ import annotations

from localserve.chat import Message
from localserve.prompting.places import checkpoints

MARKS = {256: b"<|user|>", 257: b"<|model|>", 258: b"<bos>"}


def spelling(token: int) -> bytes:
    return MARKS.get(token) or bytes([token])


def conversation(*texts: str, role: str = "user") -> tuple[Message, ...]:
    return tuple(Message(role, text) for text in texts)  # type: ignore[arg-type]


def test_they_are_before_the_last_users_words_and_behind_the_last_message() -> None:
    messages = conversation("one", "two ö")
    prompt = "<|user|>one<|user|>two ö<|model|>"
    tokens = [256, *b"one", 256, *"two ö".encode(), 257]
    assert checkpoints(messages, prompt, tokens, spelling) == (5, 11)


def test_a_token_that_the_tokenizer_put_in_front_is_counted() -> None:
    tokens = [258, 256, *b"two", 257]
    assert checkpoints(conversation("two"), "<|user|>two<|model|>", tokens, spelling) == (2, 5)


def test_behind_the_result_of_a_tool() -> None:
    messages = (Message("user", "ask"), Message("tool", "4"))
    tokens = [256, *b"ask", 256, *b"4", 257]
    prompt = "<|user|>ask<|user|>4<|model|>"
    assert checkpoints(messages, prompt, tokens, spelling) == (1, 6)


def test_what_is_not_in_the_prompt_as_it_is_gives_none() -> None:
    tokens = [256, *b"ONE", 257]
    assert checkpoints(conversation("one"), "<|user|>ONE<|model|>", tokens, spelling) == ()
    assert checkpoints((), "<|model|>", [257], spelling) == ()
    assert checkpoints(conversation(" "), "<|model|>", [257], spelling) == ()


def test_words_that_are_to_be_continued_end_nothing() -> None:
    messages = (Message("user", "ask"), Message("assistant", "I"))
    tokens = [256, *b"ask", 257, *b"I"]
    assert checkpoints(messages, "<|user|>ask<|model|>I", tokens, spelling) == (1,)
