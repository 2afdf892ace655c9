"""The tools of a request, and whether the model may call them. Any thread."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from localserve.chat import CallPolicy, Tool
from localserve.dialects.anthropic.refusals import unsupported
from localserve.dialects.bounds import MAX_TOOLS, ToolName
from localserve.dialects.schema import WireModel
from localserve.errors import InvalidRequest


class WireTool(WireModel):
    """A tool of the client's own has the type "custom" or none, and a schema."""

    name: ToolName
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None


class ToolChoice(WireModel):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


WireTools = Annotated[list[WireTool], Field(max_length=MAX_TOOLS)]


def read_tools(
    tools: list[WireTool] | None, choice: ToolChoice | None
) -> tuple[tuple[Tool, ...], CallPolicy]:
    """The tools that the model is shown (none if it must not call any), and what it may call.

    Raises: UnsupportedField (a tool that the client does not define); InvalidRequest.
    """
    kind = "auto" if choice is None else choice.type
    if kind == "none":
        return (), CallPolicy()
    if kind not in ("auto", "any", "tool"):
        raise InvalidRequest(
            f'tool_choice.type is {kind!r}; it can be "auto", "any", "tool" or "none".',
            param="tool_choice.type",
        )
    if not tools:
        if kind != "auto":
            raise InvalidRequest(
                "tool_choice asks for a tool call, but there are no tools.", param="tool_choice"
            )
        return (), CallPolicy()
    offered = _distinct([_tool(tool, index) for index, tool in enumerate(tools)])
    only = _named(offered, choice) if choice is not None and kind == "tool" else ()
    parallel = choice is None or not choice.disable_parallel_tool_use
    return offered, CallPolicy(kind != "auto", only, parallel)


def _named(offered: tuple[Tool, ...], choice: ToolChoice) -> tuple[str, ...]:
    if choice.name is None or choice.name not in {tool.name for tool in offered}:
        raise InvalidRequest(
            f"tool_choice names {choice.name!r}, which is none of the tools.",
            param="tool_choice.name",
            hint="Name one of them.",
        )
    return (choice.name,)


def _tool(tool: WireTool, index: int) -> Tool:
    if tool.type not in (None, "custom"):
        raise unsupported(
            f"tools.{index}",
            f"It is a {tool.type!r} tool, which would be run by the server or is defined nowhere"
            " in the request; define it with an input_schema.",
        )
    return Tool(tool.name, tool.description, tool.input_schema, bool(tool.strict))


def _distinct(tools: list[Tool]) -> tuple[Tool, ...]:
    names: set[str] = set()
    for index, tool in enumerate(tools):
        if tool.name in names:
            raise InvalidRequest(
                f"Two tools have the name {tool.name!r}.",
                param=f"tools.{index}.name",
                hint="A call names its tool: give each a name of its own.",
            )
        names.add(tool.name)
    return tuple(tools)
