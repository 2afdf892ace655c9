"""What goes through the pipe comes out the same."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from datetime import date
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.chat import Message, Tool, ToolCall
from localserve.errors import InvalidRequest, TemplateFailed
from localserve.prompting.frames import (
    HEADER_BYTES,
    decode_answer,
    decode_request,
    encode_answer,
    encode_request,
)
from localserve.prompting.template import RenderRequest

TEXT = st.text(st.characters())
MESSAGES = st.builds(
    Message,
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=st.none() | TEXT,
    name=st.none() | TEXT,
    tool_calls=st.lists(st.builds(ToolCall, TEXT, TEXT, TEXT), max_size=2).map(tuple),
    tool_call_id=st.none() | TEXT,
    reasoning=st.none() | TEXT,
)


def body_of(frame: bytes) -> bytes:
    assert int.from_bytes(frame[:HEADER_BYTES], "big") == len(frame) - HEADER_BYTES
    return frame[HEADER_BYTES:]


@given(st.lists(MESSAGES, max_size=4), TEXT, st.booleans(), st.none() | st.dates())
def test_a_request_comes_out_as_it_went_in(
    messages: list[Message], text: str, flag: bool, day: date | None
) -> None:
    tools = (Tool(text, None, None), Tool("f", text, {"type": text}))
    request = RenderRequest(
        text, tuple(messages), text, "</s>", tools, {"a": [text, None]}, flag, day
    )
    assert decode_request(body_of(encode_request(request))) == request


def test_lone_surrogates_pass() -> None:
    request = RenderRequest("t", (Message("user", "a\ud800b"),))
    assert decode_request(body_of(encode_request(request))) == request
    assert decode_answer(body_of(encode_answer("a\ud800b"))) == "a\ud800b"


def test_other_mappings_become_dicts() -> None:
    options: Mapping[str, object] = MappingProxyType({"a": MappingProxyType({"b": 1})})
    request = RenderRequest("t", (), options=options)
    assert decode_request(body_of(encode_request(request))).options == {"a": {"b": 1}}


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x"])
def test_options_that_are_not_json_are_refused(value: object) -> None:
    with pytest.raises(InvalidRequest, match="not JSON"):
        encode_request(RenderRequest("t", (), options={"a": value}))


def test_what_an_untrusted_child_says_is_never_unpickled() -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(ValueError):  # noqa: PT011 (JSON's or the decoder's)
            decode_answer(pickle.dumps(["anything"], protocol))


@pytest.mark.parametrize("kind", [InvalidRequest, TemplateFailed])
def test_refusals_keep_their_kind_and_words(kind: type[InvalidRequest]) -> None:
    frame = encode_answer(kind("no", param="messages", hint="do this"))
    with pytest.raises(InvalidRequest) as caught:
        decode_answer(body_of(frame))
    refusal = caught.value
    assert type(refusal) is kind
    assert (refusal.message, refusal.param, refusal.hint) == ("no", "messages", "do this")
