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
from localserve.dialects.openai.thinking import ThinkingFields
from localserve.dialects.openai.tools import ToolChoice, WireTools, read_tools
from localserve.dialects.schema import WireModel, read_json
from localserve.errors import InvalidRequest

MAX_TOP_LOGPROBS = 20


def parse_chat(body: bytes) -> Asked[ChatRequest]:
    """Read a chat request; without a `model` its name is "".

    Raises: InvalidRequest, InvalidSchema, UnsupportedField.
    """
    chat = read_json(ChatBody, body)
    request = chat_request(chat)
    if chat.add_generation_prompt is False and not chat.continue_final_message:
        raise unsupported("add_generation_prompt", "Leave it out, or set continue_final_message.")
    return Asked(
        request,
        choices=request.generation.choices,
        stream=bool(chat.stream),
        include_usage=chat.wants_usage,
        extras=chat.extras,
    )


def chat_request(chat: ChatBody) -> ChatRequest:
    """What a body asks for. Raises: InvalidRequest, UnsupportedField."""
    refuse_unsupported(chat.model_extra or {})
    messages = tuple(_message(wire, index) for index, wire in enumerate(chat.messages))
    tools, calls = read_tools(chat.tools, chat.tool_choice, chat.parallel_tool_calls)
    return ChatRequest(
        model=chat.model or "",
        messages=messages,
        tools=tools,
        calls=calls,
        template_options=chat.template_options(),
        generation=chat.generation(top_logprobs=_top_logprobs(chat)),
        continue_last=_continues(chat, messages),
        reasoning_apart=chat.reasoning_apart,
        reasoning_tokens=chat.reasoning_tokens(),
        priority=chat.wanted_priority,
        deadline_seconds=chat.deadline_seconds,
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


class ChatBody(ThinkingFields, GenerationBody):
    messages: Annotated[list[WireMessage], Field(min_length=1)]
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None
    tools: WireTools | None = None
    tool_choice: ToolChoice = None
    parallel_tool_calls: bool | None = None
    continue_final_message: bool | Literal["auto", "content", "reasoning"] | None = None
    add_generation_prompt: bool | None = None


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


def _continues(chat: ChatBody, messages: tuple[Message, ...]) -> bool:
    """Whether a last message of the assistant is continued, as it is unless a client forbids it."""
    wanted = chat.continue_final_message
    role = messages[-1].role
    if wanted and role != "assistant":
        raise InvalidRequest(
            f"continue_final_message is set, but the last message is of role {role!r}.",
            param="continue_final_message",
            hint="End the messages with the assistant's words that are to be continued.",
        )
    if wanted and chat.add_generation_prompt:
        raise InvalidRequest(
            "continue_final_message continues a turn, add_generation_prompt begins a new one.",
            param="add_generation_prompt",
            hint="Send one of them.",
        )
    return wanted is not False


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
