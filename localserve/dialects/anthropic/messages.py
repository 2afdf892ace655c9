"""`POST /v1/messages` and `/v1/messages/count_tokens`: from the body to a ChatRequest.

Nothing that clients send besides is refused unless it would change the answer. Knows nothing of
HTTP and of templates. Any thread.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field

from localserve.chat import (
    ChatRequest,
    Generation,
    JsonShape,
    Message,
    Sampling,
    Shape,
    TokenCount,
)
from localserve.dialects.anthropic.blocks import Content, system_text
from localserve.dialects.anthropic.refusals import refuse_unsupported, unsupported
from localserve.dialects.anthropic.tools import ToolChoice, WireTools, read_tools
from localserve.dialects.anthropic.turns import WireMessage, read_turns
from localserve.dialects.bounds import LARGEST_TOKEN, MAX_STOPS, Name, StopText
from localserve.dialects.schema import WireBody, WireModel, read_json
from localserve.dialects.schemas import Schema, schema_text
from localserve.dialects.urgency import UrgencyFields
from localserve.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class AskedMessage:
    """The request, and whether its one answer is streamed."""

    request: ChatRequest
    stream: bool
    choices: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class AskedCount:
    """The request whose prompt is to be counted."""

    request: ChatRequest

    def render(self, count: TokenCount) -> bytes:
        """The body of the answer."""
        return json.dumps({"input_tokens": count.prompt_tokens}).encode()


class Thinking(WireModel):
    type: str
    budget_tokens: Annotated[int, Field(ge=0, le=LARGEST_TOKEN)] | None = None


class OutputFormat(WireModel):
    type: str
    schema_: Annotated[Schema | None, Field(alias="schema")] = None


class OutputConfig(WireModel):
    effort: Annotated[str, Field(max_length=32)] | None = None
    format: OutputFormat | None = None


class MessagesBody(UrgencyFields, WireBody):
    """`max_tokens` may be left out: then the model's own limits hold."""

    messages: Annotated[list[WireMessage], Field(min_length=1)]
    model: Name | None = None
    system: Content | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    stop_sequences: Annotated[list[StopText], Field(max_length=MAX_STOPS)] | None = None
    stream: bool | None = None
    temperature: Annotated[float, Field(ge=0, le=5)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=0, le=LARGEST_TOKEN)] | None = None
    tools: WireTools | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None


def parse_message(body: bytes) -> AskedMessage:
    """Read a request; without a `model` its name is "".

    Raises: InvalidRequest, InvalidSchema, UnsupportedField.
    """
    wire = read_json(MessagesBody, body)
    return AskedMessage(_request(wire), stream=bool(wire.stream))


def parse_count(body: bytes) -> AskedCount:
    """Read a request whose prompt is to be counted. Raises as `parse_message`."""
    return AskedCount(_request(read_json(MessagesBody, body)))


def _request(wire: MessagesBody) -> ChatRequest:
    refuse_unsupported(wire.model_extra or {})
    tools, calls = read_tools(wire.tools, wire.tool_choice)
    system = "" if wire.system is None else system_text(wire.system)
    turns = read_turns(wire.messages)
    return ChatRequest(
        model=wire.model or "",
        messages=(Message("system", system), *turns) if system else turns,
        tools=tools,
        calls=calls,
        template_options=_template_options(wire),
        generation=Generation(
            sampling=Sampling(temperature=wire.temperature, top_p=wire.top_p, top_k=wire.top_k),
            max_tokens=wire.max_tokens,
            stop=tuple(dict.fromkeys(text for text in wire.stop_sequences or () if text)),
            shape=_shape(wire),
        ),
        reasoning_tokens=_reasoning_tokens(wire.thinking),
        priority=wire.wanted_priority,
        deadline_seconds=wire.deadline_seconds,
    )


def _shape(wire: MessagesBody) -> Shape | None:
    """`output_format` is the older name. Raises: InvalidRequest, UnsupportedField."""
    config = wire.output_config
    asked, field = wire.output_format, "output_format"
    if config is not None and config.format is not None:
        asked, field = config.format, "output_config.format"
    if asked is None:
        return None
    if asked.type != "json_schema":
        raise unsupported(field, f'Its type is {asked.type[:64]!r}; it can be "json_schema".')
    if asked.schema_ is None:
        raise InvalidRequest(f"{field} has no schema.", param=f"{field}.schema")
    return JsonShape(schema_text(asked.schema_), field)


def _reasoning_tokens(thinking: Thinking | None) -> int | None:
    """The budget of thinking that is switched on."""
    return thinking.budget_tokens if thinking and thinking.type == "enabled" else None


def _template_options(wire: MessagesBody) -> Mapping[str, object]:
    """What the template may read. Who does not ask for thinking wants none; "adaptive" and
    "between_tools" leave it to the model.

    Raises: UnsupportedField.
    """
    thinking = wire.thinking or Thinking(type="disabled")
    options: dict[str, object] = {}
    match thinking.type:
        case "enabled":
            options["enable_thinking"] = thinking.budget_tokens != 0
            if thinking.budget_tokens is not None:
                options["thinking_budget"] = thinking.budget_tokens
        case "disabled":
            options["enable_thinking"] = False
        case "adaptive" | "between_tools":
            pass
        case _:
            raise unsupported(
                "thinking.type", 'Send "enabled", "adaptive" or "disabled", or leave it out.'
            )
    if wire.output_config and wire.output_config.effort and thinking.type != "disabled":
        options["reasoning_effort"] = wire.output_config.effort
    return options
