"""`POST /api/chat`: from the body to a ChatRequest. Knows nothing of HTTP and of templates."""

from __future__ import annotations

from typing import Any

from localserve.chat import ChatRequest, Message
from localserve.chat import Role as ChatRole
from localserve.dialects.ollama.asked import Asked
from localserve.dialects.ollama.options import AnswerBody, Role, refuse_images
from localserve.dialects.ollama.tools import CallIds, WireCall, WireTools, read_tools
from localserve.dialects.schema import WireModel, read_json


class WireMessage(WireModel):
    role: Role
    content: str | None = None
    thinking: str | None = None
    images: Any = None
    tool_calls: list[WireCall] | None = None
    tool_name: str | None = None
    name: str | None = None
    tool_call_id: str | None = None


class ChatBody(AnswerBody):
    messages: list[WireMessage] | None = None
    tools: WireTools | None = None


def parse_chat(body: bytes) -> Asked[ChatRequest]:
    """Read a chat request; without a `model` its name is "", without messages it is empty.

    Raises: InvalidRequest, InvalidSchema, UnsupportedField.
    """
    chat = read_json(ChatBody, body)
    ids = CallIds()
    wire = chat.messages or []
    request = ChatRequest(
        model=chat.model or "",
        messages=tuple(_message(one, index, ids) for index, one in enumerate(wire)),
        tools=read_tools(chat.tools or ()),
        template_options=chat.template_options(),
        generation=chat.generation(),
        priority=chat.wanted_priority,
        deadline_seconds=chat.deadline_seconds,
        keep_alive_seconds=chat.keep_alive,
    )
    return Asked(request, model=request.model, stream=chat.streams, empty=not wire)


_ROLES: dict[str, ChatRole] = {"developer": "system", "function": "tool"}


def _message(wire: WireMessage, index: int, ids: CallIds) -> Message:
    refuse_images(wire.images, f"messages.{index}.images")
    role: ChatRole = _ROLES.get(wire.role, wire.role)  # type: ignore[arg-type]
    calls = ids.calls(wire.tool_calls or ())
    name = wire.tool_name or wire.name
    return Message(
        role=role,
        content=wire.content or (None if calls else ""),
        name=name,
        tool_calls=calls,
        tool_call_id=ids.result_of(wire.tool_call_id, name) if role == "tool" else None,
        reasoning=wire.thinking or None,
    )
