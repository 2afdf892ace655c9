"""The answer to a message: content blocks, either as events of a stream or as one body.

Pure; knows nothing of HTTP. Source: Anthropic's API reference, 'Messages' and 'Streaming messages'.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, assert_never
from uuid import uuid4

from pydantic_core import from_json

from localserve.chat import (
    Accepted,
    AnswerProgress,
    ArgumentsDelta,
    ChatEvent,
    Completed,
    Delta,
    Finished,
    FinishReason,
    PromptProgress,
    ReasoningDelta,
    TextDelta,
    ToolCallBegun,
    Usage,
)
from localserve.dialects.anthropic.errors import error_event
from localserve.errors import LocalserveError

SIGNATURE = "localserve"
"""Clients keep only such thinking for the next turn as is signed; nobody checks by whom."""

Fields = dict[str, object]

Kind = Literal["text", "thinking", "tool_use"]

_STOP_REASONS: dict[FinishReason, str] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
}


class MessageAnswer:
    """Renders the events of one request. One block is open at a time; the next one closes it."""

    media_type = "text/event-stream; charset=utf-8"
    told_in_stream: tuple[type[LocalserveError], ...] = ()

    def __init__(self) -> None:
        self.id = f"msg_{uuid4().hex}"
        self._kind: Kind | None = None
        self._index = -1
        self._end = Finished(0, "stop")

    def stream(self, events: Sequence[ChatEvent]) -> str:
        """The events of `events`, as server-sent events."""
        return "".join(
            f"event: {fields['type']}\ndata: {_json(fields)}\n\n"
            for event in events
            for fields in self._news(event)
        )

    def keepalive(self) -> str:
        """An event that clients overlook."""
        return 'event: ping\ndata: {"type": "ping"}\n\n'

    def stream_error(self, error: LocalserveError) -> str:
        """The last event of a stream that fails."""
        return error_event(error)

    def body(self, events: Iterable[ChatEvent]) -> str:
        """The whole answer as one JSON object."""
        model, blocks, end, usage = "", list[_Block](), self._end, Usage(0, 0)
        for event in events:
            match event:
                case Accepted():
                    model = event.model
                case Finished():
                    end = event
                case Completed():
                    usage = event.usage
                case PromptProgress() | AnswerProgress():
                    pass
                case _:
                    _gather(blocks, event)
        return _json(
            self._message(model)
            | {"content": [block.fields() for block in blocks], **_stop_fields(end)}
            | {"usage": _usage_fields(usage)}
        )

    def _message(self, model: str) -> Fields:
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
        }

    def _news(self, event: ChatEvent) -> Iterator[Fields]:
        match event:
            case Accepted():
                message = self._message(event.model)
                message["usage"] = _usage_fields(Usage(event.prompt_tokens, 0))
                yield {"type": "message_start", "message": message}
                yield {"type": "ping"}
            case Finished():
                self._end = event
                yield from self._close()
            case Completed():
                yield {
                    "type": "message_delta",
                    "delta": _stop_fields(self._end),
                    "usage": _usage_fields(event.usage),
                    **({"localserve_route": event.route} if event.route else {}),
                }
                yield {"type": "message_stop"}
            case PromptProgress() | AnswerProgress():
                pass
            case _:
                yield from self._more(event)

    def _more(self, delta: Delta) -> Iterator[Fields]:
        match delta:
            case TextDelta():
                if delta.text:
                    yield from self._open("text", {"text": ""})
                    yield self._delta("text_delta", "text", delta.text)
            case ReasoningDelta():
                yield from self._open("thinking", {"thinking": "", "signature": ""})
                yield self._delta("thinking_delta", "thinking", delta.text)
            case ToolCallBegun():
                yield from self._close()
                yield from self._open("tool_use", {"id": delta.id, "name": delta.name, "input": {}})
            case ArgumentsDelta():
                yield self._delta("input_json_delta", "partial_json", delta.text)
            case _ as never:
                assert_never(never)

    def _open(self, kind: Kind, fields: Fields) -> Iterator[Fields]:
        """Begin a block, unless one of this kind is open."""
        if self._kind == kind:
            return
        yield from self._close()
        self._kind = kind
        self._index += 1
        yield {
            "type": "content_block_start",
            "index": self._index,
            "content_block": {"type": kind, **fields},
        }

    def _close(self) -> Iterator[Fields]:
        if self._kind is None:
            return
        if self._kind == "thinking":
            yield self._delta("signature_delta", "signature", SIGNATURE)
        self._kind = None
        yield {"type": "content_block_stop", "index": self._index}

    def _delta(self, kind: str, key: str, text: str) -> Fields:
        return {
            "type": "content_block_delta",
            "index": self._index,
            "delta": {"type": kind, key: text},
        }


@dataclass(slots=True)
class _Block:
    """One block with its texts; those of a call are its arguments."""

    kind: Kind
    call: ToolCallBegun | None = None
    texts: list[str] = field(default_factory=list)

    def fields(self) -> Fields:
        text = "".join(self.texts)
        if self.call is not None:
            return {
                "type": "tool_use",
                "id": self.call.id,
                "name": self.call.name,
                "input": _arguments(text),
            }
        signed = {"signature": SIGNATURE} if self.kind == "thinking" else {}
        return {"type": self.kind, self.kind: text, **signed}


def _gather(blocks: list[_Block], delta: Delta) -> None:
    match delta:
        case ToolCallBegun():
            blocks.append(_Block("tool_use", delta))
        case ArgumentsDelta():
            blocks[-1].texts.append(delta.text)
        case TextDelta() | ReasoningDelta() if delta.text:
            kind: Kind = "text" if isinstance(delta, TextDelta) else "thinking"
            if not blocks or blocks[-1].kind != kind:
                blocks.append(_Block(kind))
            blocks[-1].texts.append(delta.text)


def _arguments(text: str) -> Fields:
    """The arguments of a call as an object; of one that was cut off what there is of it."""
    try:
        value = from_json(text, allow_inf_nan=False, allow_partial="trailing-strings")
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}


def _stop_fields(end: Finished) -> Fields:
    if end.stop_text is not None:
        return {"stop_reason": "stop_sequence", "stop_sequence": end.stop_text}
    return {"stop_reason": _STOP_REASONS[end.reason], "stop_sequence": None}


def _usage_fields(usage: Usage) -> Fields:
    """`input_tokens` are those of the prompt that were computed for this answer."""
    return {
        "input_tokens": usage.prompt_tokens - usage.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": usage.cached_tokens,
        "output_tokens": usage.completion_tokens,
    }


def _json(fields: Fields) -> str:
    """In ASCII: no line separator of Unicode can end a line of a stream early."""
    return json.dumps(fields, separators=(",", ":"))
