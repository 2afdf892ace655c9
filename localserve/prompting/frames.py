"""What a server and its rendering child say to each other: JSON with its length in front.

Knows neither pipes nor processes. Pure; any thread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from typing import Any

from localserve.chat import Message, Tool, ToolCall
from localserve.errors import InvalidRequest, TemplateFailed
from localserve.prompting.template import RenderRequest

HEADER_BYTES = 4
"""Big-endian length of what follows."""


def encode_request(request: RenderRequest) -> bytes:
    """A whole frame.

    Raises: InvalidRequest, when the options or a tool's schema are not JSON-like.
    """
    value = {
        "template": request.template,
        "bos": request.bos,
        "eos": request.eos,
        "messages": [_encode_message(message) for message in request.messages],
        "tools": [[tool.name, tool.description, tool.parameters] for tool in request.tools],
        "options": request.options,
        "add_generation_prompt": request.add_generation_prompt,
        "day": request.day and request.day.isoformat(),
    }
    try:
        return _encode(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"The tools or template options are not JSON: {error}") from None


def decode_request(body: bytes) -> RenderRequest:
    """What `encode_request` was given; `body` is a frame without its header."""
    value = json.loads(body)
    value["messages"] = tuple(_decode_message(fields) for fields in value["messages"])
    value["tools"] = tuple(Tool(*fields) for fields in value["tools"])
    value["day"] = value["day"] and date.fromisoformat(value["day"])
    return RenderRequest(**value)


def encode_answer(answer: str | InvalidRequest) -> bytes:
    """A whole frame with the prompt, or with the reason why there is none."""
    if isinstance(answer, str):
        return _encode({"prompt": answer})
    failed = isinstance(answer, TemplateFailed)
    return _encode(
        {"failed": failed, "message": answer.message, "param": answer.param, "hint": answer.hint}
    )


def decode_answer(body: bytes) -> str:
    """The prompt; `body` is a frame without its header.

    Raises: TemplateFailed, InvalidRequest, as the child raised them.
    """
    value = json.loads(body)
    if "prompt" in value:
        return str(value["prompt"])
    kind = TemplateFailed if value["failed"] else InvalidRequest
    raise kind(value["message"], param=value["param"], hint=value["hint"])


def _encode_message(message: Message) -> list[object]:
    calls = [[call.id, call.name, call.arguments] for call in message.tool_calls]
    return [
        message.role,
        message.content,
        message.name,
        calls,
        message.tool_call_id,
        message.reasoning,
    ]


def _decode_message(fields: list[Any]) -> Message:
    role, content, name, calls, tool_call_id, reasoning = fields
    made = tuple(ToolCall(*call) for call in calls)
    return Message(role, content, name, made, tool_call_id, reasoning)


def _encode(value: object) -> bytes:
    # Lone surrogates can come in with a client's JSON and must not stop a render.
    body = json.dumps(value, ensure_ascii=False, default=_plain).encode("utf-8", "surrogatepass")
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a value is of type {type(value).__name__}")
