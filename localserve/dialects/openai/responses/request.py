"""`POST /v1/responses`: from the body to what it asks for.

Tools of unknown types are skipped: agents offer the hosted ones of other servers everywhere. Knows
nothing of HTTP. Any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar

from pydantic import Field

from localserve.chat import ChatRequest, Generation, JsonShape, Message, Shape
from localserve.dialects.bounds import Limit
from localserve.dialects.openai.generation import GenerationBody
from localserve.dialects.openai.refusals import Refusal, refuse_unsupported, unsupported
from localserve.dialects.openai.responses.items import (
    Item,
    Reference,
    WireItem,
    messages_of,
    read_items,
    resolve,
)
from localserve.dialects.openai.responses.tools import FlatChoice, FlatTools, offered_tools
from localserve.dialects.openai.thinking import ThinkingFields
from localserve.dialects.openai.tools import read_tools
from localserve.dialects.schema import WireModel, read_json
from localserve.dialects.schemas import ANY_OBJECT, Schema, schema_text
from localserve.errors import InvalidRequest

MAX_ID_CHARACTERS = 256

REFUSED: Mapping[str, Refusal] = {
    "background": Refusal(hint="Send it without, and wait for the answer."),
    "conversation": Refusal(hint="Send previous_response_id, or the items themselves."),
    "prompt": Refusal(hint="Send instructions and input."),
}

_LOGPROBS = "message.output_text.logprobs"


@dataclass(frozen=True, slots=True)
class AskedResponse:
    """What a body asks for. `request` has its messages once `after` was told what went before, and
    `items` are then the whole conversation. `echo` are the fields that the response repeats."""

    request: ChatRequest
    instructions: str
    given: tuple[Item | Reference, ...]
    previous_id: str | None
    stream: bool
    store: bool
    echo: Mapping[str, object]
    items: tuple[Item, ...] = ()
    choices: ClassVar[int] = 1

    def after(
        self, history: Sequence[Item], find: Callable[[str], Item | None], *, scope: str
    ) -> AskedResponse:
        """The same within the conversation that it continues.

        `find` gives an item that an earlier response of this scope gave out.

        Raises: InvalidRequest.
        """
        items = (*history, *resolve(self.given, find))
        messages = messages_of(items)
        if not messages:
            raise InvalidRequest("The input is empty.", param="input", hint="Say something.")
        if self.instructions:
            messages = (Message("system", self.instructions), *messages)
        return replace(
            self, request=replace(self.request, messages=messages, scope=scope), items=items
        )


class Format(WireModel):
    type: str = "text"
    schema_: Annotated[Schema | None, Field(alias="schema")] = None

    def shape(self) -> Shape | None:
        """What it asks for; None is free text. Raises: InvalidRequest, UnsupportedField."""
        match self.type:
            case "text":
                return None
            case "json_object":
                return JsonShape(ANY_OBJECT, "text.format")
            case "json_schema" if self.schema_ is not None:
                return JsonShape(schema_text(self.schema_), "text.format")
            case "json_schema":
                raise InvalidRequest(
                    "text.format asks for a json_schema and has none.", param="text.format.schema"
                )
        raise unsupported("text.format", 'Send "text", "json_object" or "json_schema".')


class TextOptions(WireModel):
    format: Format | None = None


class ResponseBody(ThinkingFields, GenerationBody):
    input: str | list[WireItem] | None = None
    instructions: str | None = None
    previous_response_id: Annotated[str, Field(max_length=MAX_ID_CHARACTERS)] | None = None
    store: bool | None = None
    max_output_tokens: Limit | None = None
    tools: FlatTools | None = None
    tool_choice: FlatChoice = None
    parallel_tool_calls: bool | None = None
    text: TextOptions | None = None
    include: list[str] | None = None
    top_logprobs: int | None = None
    truncation: str | None = None
    metadata: dict[str, str] | None = None


def parse_response(body: bytes) -> AskedResponse:
    """Read a request; without a `model` its name is "".

    Raises: InvalidRequest, InvalidSchema, UnsupportedField.
    """
    wire = read_json(ResponseBody, body)
    _refuse(wire)
    if wire.input is None and wire.previous_response_id is None:
        raise InvalidRequest(
            "There is no input.", param="input", hint="Send a text, or a list of items."
        )
    offered, choice = offered_tools(wire.tools or [], wire.tool_choice)
    tools, calls = read_tools(offered, choice, wire.parallel_tool_calls)
    request = ChatRequest(
        model=wire.model or "",
        messages=(),
        tools=tools,
        calls=calls,
        template_options=wire.template_options(),
        generation=_generation(wire),
        continue_last=False,
        reasoning_apart=wire.reasoning_apart,
        reasoning_tokens=wire.reasoning_tokens(),
        priority=wire.wanted_priority,
        deadline_seconds=wire.deadline_seconds,
    )
    return AskedResponse(
        request=request,
        instructions=wire.instructions or "",
        given=() if wire.input is None else read_items(wire.input),
        previous_id=wire.previous_response_id,
        stream=bool(wire.stream),
        store=wire.store is not False,
        echo=_echo(wire),
    )


def _refuse(wire: ResponseBody) -> None:
    """Raises: UnsupportedField. Truncation "auto" is accepted: what is too long is refused."""
    extra = wire.model_extra or {}
    refuse_unsupported(extra)
    refuse_unsupported(extra, REFUSED)
    if wire.top_logprobs or _LOGPROBS in (wire.include or ()):
        raise unsupported("top_logprobs" if wire.top_logprobs else "include", "Leave it out.")
    if wire.truncation not in (None, "auto", "disabled"):
        raise unsupported("truncation", 'Send "disabled".')
    if wire.n not in (None, 1):
        raise unsupported("n", "A response is one answer: leave it out.")


def _generation(wire: ResponseBody) -> Generation:
    generation = wire.generation(top_logprobs=None)
    if wire.text is not None and wire.text.format is not None:
        generation = replace(generation, shape=wire.text.format.shape() or generation.shape)
    limit = wire.max_output_tokens
    if limit is None or limit < 0:
        return generation
    return replace(generation, max_tokens=limit)


def _echo(wire: ResponseBody) -> Mapping[str, object]:
    return {
        "instructions": wire.instructions,
        "max_output_tokens": wire.max_output_tokens,
        "metadata": wire.metadata or {},
        "parallel_tool_calls": wire.parallel_tool_calls is not False,
        "previous_response_id": wire.previous_response_id,
        "reasoning": {"effort": wire.reasoning.effort if wire.reasoning else None, "summary": None},
        "service_tier": "default",
        "store": wire.store is not False,
        "temperature": wire.temperature,
        "text": {"format": {"type": "text"}},
        "tool_choice": _plain(wire.tool_choice) or "auto",
        "tools": [tool.echo() for tool in wire.tools or () if tool.type == "function"],
        "top_p": wire.top_p,
        "truncation": "disabled",
    }


def _plain(choice: FlatChoice) -> FlatChoice:
    """A choice as it is repeated: without the tools that it may list."""
    if not isinstance(choice, dict):
        return choice
    return {key: value for key, value in choice.items() if isinstance(value, str)}
