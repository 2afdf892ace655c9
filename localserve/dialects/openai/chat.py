"""`POST /v1/chat/completions`: from the body to a ChatRequest.

What clients disagree about is accepted in all its forms: content as a string, as parts or null,
`developer` for `system`, arguments as text or object, reasoning under several names. Knows nothing
of HTTP and of templates. Any thread.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from pydantic import Field

from localserve.chat import ChatRequest, Message, Role, ToolCall
from localserve.dialects.openai.asked import Asked
from localserve.dialects.openai.generation import GenerationBody
from localserve.dialects.openai.refusals import refuse_unsupported, unsupported
from localserve.dialects.openai.schema import WireModel, read_json
from localserve.errors import InvalidRequest

MAX_TOP_LOGPROBS = 20


def parse_chat(body: bytes) -> Asked[ChatRequest]:
    """Read a chat request; without a `model` its name is "".

    Tools are dropped under `tool_choice: "none"`: a model that must not call any sees none.
    Raises: InvalidRequest, InvalidSchema, UnsupportedField.
    """
    chat = read_json(ChatBody, body)
    refuse_unsupported(chat.model_extra or {})
    _refuse_tools(chat)
    request = ChatRequest(
        model=chat.model or "",
        messages=tuple(_message(wire, index) for index, wire in enumerate(chat.messages)),
        template_options=_template_options(chat),
        generation=chat.generation(top_logprobs=_top_logprobs(chat)),
    )
    return Asked(
        request,
        choices=request.generation.choices,
        stream=bool(chat.stream),
        include_usage=chat.wants_usage,
    )


class Part(WireModel):
    type: str = "text"
    text: str | None = None


class Function(WireModel):
    name: str
    arguments: str | dict[str, Any] | None = None


class Call(WireModel):
    id: str | None = None
    type: str | None = None
    function: Function | None = None


class WireMessage(WireModel):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None
    tool_call_id: str | None = None
    reasoning_content: Any = None
    reasoning: Any = None


class Reasoning(WireModel):
    effort: Annotated[str, Field(max_length=32)] | None = None


class ChatBody(GenerationBody):
    messages: Annotated[list[WireMessage], Field(min_length=1)]
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    tools: list[Any] | None = None
    tool_choice: str | dict[str, Any] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    enable_thinking: bool | None = None
    reasoning_effort: Annotated[str, Field(max_length=32)] | None = None
    reasoning: Reasoning | None = None
    thinking: Any = None


_ROLES: dict[str, Role] = {"developer": "system", "function": "tool"}


def _message(wire: WireMessage, index: int) -> Message:
    place = f"messages.{index}"
    role: Role = _ROLES.get(wire.role, wire.role)  # type: ignore[arg-type]
    calls = _calls(wire, place)
    content = _text(wire.content, place)
    return Message(
        role=role,
        content="" if content is None and not calls else content,
        name=wire.name,
        tool_calls=calls,
        tool_call_id=wire.tool_call_id,
        reasoning=_first_text(wire.reasoning_content, wire.reasoning),
    )


def _text(content: str | list[Part] | None, place: str) -> str | None:
    """Parts are joined by line breaks, as the common servers do. Other parts are refused."""
    if not isinstance(content, list):
        return content
    for index, part in enumerate(content):
        if part.type not in ("text", "input_text", "output_text"):
            raise unsupported(
                f"{place}.content.{index}", f"It is a {part.type!r} part; only text is supported."
            )
        if part.text is None:
            raise InvalidRequest(
                f"{place}.content.{index} is a text part without `text`.",
                param=f"{place}.content.{index}.text",
            )
    return "\n".join(part.text or "" for part in content)


def _calls(wire: WireMessage, place: str) -> tuple[ToolCall, ...]:
    if wire.function_call is not None:
        return (_call("", wire.function_call),)
    calls: list[ToolCall] = []
    for index, call in enumerate(wire.tool_calls or ()):
        if call.function is None:
            raise unsupported(
                f"{place}.tool_calls.{index}",
                f"It is a {call.type!r} call; only function calls are supported.",
            )
        calls.append(_call(call.id or "", call.function))
    return tuple(calls)


def _call(call_id: str, function: Function) -> ToolCall:
    arguments = function.arguments
    if isinstance(arguments, dict):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return ToolCall(call_id, function.name, arguments or "{}")


def _first_text(*values: object) -> str | None:
    return next((value for value in values if isinstance(value, str) and value), None)


def _refuse_tools(chat: ChatBody) -> None:
    if chat.tools and chat.tool_choice != "none":
        raise unsupported("tools", 'Leave it out, or send "tool_choice": "none".')
    if not chat.tools and chat.tool_choice not in (None, "none", "auto"):
        raise InvalidRequest(
            "tool_choice asks for a tool call, but there are no tools.", param="tool_choice"
        )


def _top_logprobs(chat: ChatBody) -> int | None:
    if chat.logprobs:
        return chat.top_logprobs or 0
    if chat.top_logprobs:
        raise InvalidRequest(
            f"top_logprobs is {chat.top_logprobs}, but logprobs is not true.",
            param="top_logprobs",
            hint='Send "logprobs": true with it.',
        )
    return None


def _template_options(chat: ChatBody) -> dict[str, object]:
    """What the template may read. What `chat_template_kwargs` say goes before the other fields.

    An effort of "none" switches thinking off; `thinking` is Anthropic's form of the same switch.
    """
    options: dict[str, object] = {}
    effort = chat.reasoning_effort or (chat.reasoning.effort if chat.reasoning else None)
    if effort is not None:
        options["reasoning_effort"] = effort
        if effort == "none":
            options["enable_thinking"] = False
    if isinstance(chat.thinking, dict) and chat.thinking.get("type") in ("enabled", "disabled"):
        options["enable_thinking"] = chat.thinking["type"] == "enabled"
    if chat.enable_thinking is not None:
        options["enable_thinking"] = chat.enable_thinking
    return options | (chat.chat_template_kwargs or {})
