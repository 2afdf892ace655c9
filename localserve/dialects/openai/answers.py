"""The two shapes of an answer: chat completions and text completions.

Pure; knows nothing of HTTP.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import assert_never

from localserve.chat import (
    ArgumentsDelta,
    Finished,
    ReasoningDelta,
    TextDelta,
    TokenLogprob,
    ToolCallBegun,
)
from localserve.dialects.openai.frames import Answer, Gathered, finite, quote
from localserve.dialects.openai.generation import NO_EXTRAS, Extras


class ChatAnswer(Answer):
    """`chat.completion` and its chunks: a role first, then content, then a reason, each once.

    A frame has one of content, reasoning and tool calls: clients overlook what is beside content.
    """

    id_prefix = "chatcmpl"
    whole_kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def _first_frames(self) -> Iterator[str]:
        for choice in range(self.choices):
            yield self._frame(choice, '{"role":"assistant","content":""}')

    def _empty_frame(self, choice: int) -> str:
        return self._frame(choice, "{}")

    def _text_frame(self, delta: TextDelta) -> str:
        logprobs = json.dumps(_chat_logprobs(delta.logprobs)) if delta.logprobs else "null"
        return self._frame(delta.choice, f'{{"content":{quote(delta.text)}}}', logprobs)

    def _finish_frame(self, end: Finished) -> str:
        return self._frame(end.choice, "{}", finish_reason=quote(end.reason))

    def _turn_frame(self, delta: ReasoningDelta | ToolCallBegun | ArgumentsDelta) -> str:
        match delta:
            case ReasoningDelta():
                return self._frame(delta.choice, f'{{"reasoning_content":{quote(delta.text)}}}')
            case ToolCallBegun():
                return self._call_frame(
                    delta,
                    f'"id":{quote(delta.id)},"type":"function",'
                    f'"function":{{"name":{quote(delta.name)},"arguments":""}}',
                )
            case ArgumentsDelta():
                return self._call_frame(delta, f'"function":{{"arguments":{quote(delta.text)}}}')
            case _ as never:
                assert_never(never)

    def _call_frame(self, delta: ToolCallBegun | ArgumentsDelta, fields: str) -> str:
        return self._frame(delta.choice, f'{{"tool_calls":[{{"index":{delta.index},{fields}}}]}}')

    def _frame(
        self, choice: int, delta: str, logprobs: str = "null", finish_reason: str = "null"
    ) -> str:
        return (
            f'{self._start}[{{"index":{choice},"delta":{delta},"logprobs":{logprobs},'
            f'"finish_reason":{finish_reason}}}]}}'
        )

    def _choice(self, index: int, whole: Gathered) -> dict[str, object]:
        message: dict[str, object] = {"role": "assistant", "content": whole.text}
        if whole.reasoning:
            message["reasoning_content"] = "".join(whole.reasoning)
        if whole.calls:
            message["content"] = whole.text or None
            message["tool_calls"] = [
                _call_fields(call, "".join(parts)) for call, parts in whole.calls
            ]
        return {
            "index": index,
            "message": message,
            "logprobs": _chat_logprobs(whole.logprobs) if whole.logprobs else None,
            "finish_reason": whole.finish_reason,
        }


class CompletionAnswer(Answer):
    """`text_completion`; a stream has the same object in every frame."""

    id_prefix = "cmpl"
    whole_kind = "text_completion"
    chunk_kind = "text_completion"

    def __init__(
        self,
        *,
        choices: int,
        include_usage: bool,
        fingerprint: str,
        extras: Extras = NO_EXTRAS,
    ) -> None:
        super().__init__(
            choices=choices, include_usage=include_usage, fingerprint=fingerprint, extras=extras
        )
        self._offsets = [0] * choices

    def _first_frames(self) -> Iterator[str]:
        return iter(())

    def _empty_frame(self, choice: int) -> str:
        return self._frame(choice, '""')

    def _text_frame(self, delta: TextDelta) -> str:
        logprobs = "null"
        if delta.logprobs:
            legacy = _legacy_logprobs(delta.logprobs, self._offsets[delta.choice])
            logprobs = json.dumps(legacy)
            self._offsets[delta.choice] += sum(map(_characters, delta.logprobs))
        return self._frame(delta.choice, quote(delta.text), logprobs)

    def _finish_frame(self, end: Finished) -> str:
        return self._frame(end.choice, '""', finish_reason=quote(end.reason))

    def _frame(
        self, choice: int, text: str, logprobs: str = "null", finish_reason: str = "null"
    ) -> str:
        return (
            f'{self._start}[{{"index":{choice},"text":{text},"logprobs":{logprobs},'
            f'"finish_reason":{finish_reason}}}]}}'
        )

    def _turn_frame(self, delta: ReasoningDelta | ToolCallBegun | ArgumentsDelta) -> str:
        raise AssertionError("a text completion is nothing but text")

    def _choice(self, index: int, whole: Gathered) -> dict[str, object]:
        return {
            "index": index,
            "text": whole.text,
            "logprobs": _legacy_logprobs(whole.logprobs, 0) if whole.logprobs else None,
            "finish_reason": whole.finish_reason,
        }


def _call_fields(call: ToolCallBegun, arguments: str) -> dict[str, object]:
    function = {"name": call.name, "arguments": arguments}
    return {"id": call.id, "type": "function", "function": function}


def _chat_logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, object]:
    content = [
        {**_token_fields(token), "top_logprobs": [_token_fields(top) for top in token.top]}
        for token in tokens
    ]
    return {"content": content}


def _token_fields(token: TokenLogprob) -> dict[str, object]:
    return {"token": token.text, "logprob": finite(token.logprob), "bytes": list(token.raw)}


def _legacy_logprobs(tokens: Sequence[TokenLogprob], offset: int) -> dict[str, object]:
    """Parallel lists. `text_offset` counts characters of the answer from its start; a token that
    begins within a character has that character's."""
    offsets: list[int] = []
    for token in tokens:
        within = any(not _begins_character(byte) for byte in token.raw[:1])
        offsets.append(max(0, offset - within))
        offset += _characters(token)
    return {
        "tokens": [_legacy_text(token) for token in tokens],
        "token_logprobs": [finite(token.logprob) for token in tokens],
        "top_logprobs": [
            {_legacy_text(top): finite(top.logprob) for top in token.top} for token in tokens
        ],
        "text_offset": offsets,
    }


def _characters(token: TokenLogprob) -> int:
    """How many characters begin in a token: some take several tokens."""
    return sum(map(_begins_character, token.raw))


def _begins_character(byte: int) -> bool:
    return byte & 0xC0 != 0x80


def _legacy_text(token: TokenLogprob) -> str:
    """The token's text; its bytes where they are a part of a character, so that names differ."""
    try:
        return token.raw.decode()
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token.raw)
