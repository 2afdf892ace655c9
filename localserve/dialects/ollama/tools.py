"""Tools, and the calls and results in a conversation, which have no ids here.

Templates and parsers know calls by ids, so each gets one by its place: the same conversation has
the same ids, and so the same prompt. Knows nothing of HTTP. Any thread.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import Field

from localserve.chat import Tool, ToolCall
from localserve.dialects.bounds import MAX_TOOLS, ToolName
from localserve.dialects.ollama.options import unsupported
from localserve.dialects.schema import WireModel
from localserve.errors import InvalidRequest


class FunctionTool(WireModel):
    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None


class WireTool(WireModel):
    type: str = "function"
    function: FunctionTool | None = None


class CalledFunction(WireModel):
    name: ToolName
    arguments: dict[str, Any] | str | None = None


class WireCall(WireModel):
    id: str | None = None
    function: CalledFunction


WireTools = Annotated[list[WireTool], Field(max_length=MAX_TOOLS)]


def read_tools(tools: Sequence[WireTool]) -> tuple[Tool, ...]:
    """The tools that the model is shown. Raises: UnsupportedField, InvalidRequest."""
    found: dict[str, Tool] = {}
    for index, tool in enumerate(tools):
        if tool.type != "function" or tool.function is None:
            raise unsupported(
                f"tools.{index}", f"It is a {tool.type!r} tool; only functions are supported."
            )
        function = tool.function
        if function.name in found:
            raise InvalidRequest(
                f"Two tools have the name {function.name!r}.",
                param=f"tools.{index}.function.name",
                hint="A call names its tool: give each a name of its own.",
            )
        found[function.name] = Tool(function.name, function.description, function.parameters)
    return tuple(found.values())


@dataclass(slots=True)
class CallIds:
    """Ids of the calls of one conversation, as its messages are read in their order."""

    _made: int = 0
    _open: list[ToolCall] = field(default_factory=list)

    def calls(self, wire: Sequence[WireCall]) -> tuple[ToolCall, ...]:
        """The calls of one message. Results that follow are of these, as far as it made any."""
        calls = tuple(self._call(one) for one in wire)
        if calls:
            self._open = list(calls)
        return calls

    def result_of(self, call_id: str | None, name: str | None) -> str | None:
        """The id of the call whose result comes now: the one that is named, else the first of that
        name that has none yet, else, of a result without a name, the first of all."""
        if call_id is not None:
            self._open = [call for call in self._open if call.id != call_id]
            return call_id
        for place, call in enumerate(self._open):
            if name is None or call.name == name:
                return self._open.pop(place).id
        return None

    def _call(self, wire: WireCall) -> ToolCall:
        self._made += 1
        arguments = wire.function.arguments
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments or {}, ensure_ascii=False)
        # nine letters and digits, as the pickiest templates want them
        return ToolCall(wire.id or f"call{self._made:05d}", wire.function.name, arguments or "{}")
