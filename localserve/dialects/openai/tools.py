"""The tools of a chat request, and whether the model may call them.

Knows nothing of HTTP and of how models write calls. Any thread.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from localserve.chat import Tool
from localserve.dialects.openai.refusals import unsupported
from localserve.dialects.schema import WireModel
from localserve.errors import InvalidRequest

MAX_TOOLS = 1_024
"""Of one request; agents with many servers send a few hundred."""

MAX_NAME_CHARACTERS = 256

ToolChoice = str | dict[str, Any] | None


class FunctionTool(WireModel):
    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class WireTool(WireModel):
    type: str = "function"
    function: FunctionTool | None = None


WireTools = Annotated[list[WireTool], Field(max_length=MAX_TOOLS)]


def read_tools(tools: list[WireTool] | None, choice: ToolChoice) -> tuple[Tool, ...]:
    """The tools that the model is shown: none under `tool_choice: "none"`.

    Raises: UnsupportedField (a tool that is no function, a call that is demanded); InvalidRequest.
    """
    if choice == "none":
        return ()
    if not tools:
        if choice not in (None, "auto"):
            raise InvalidRequest(
                "tool_choice asks for a tool call, but there are no tools.", param="tool_choice"
            )
        return ()
    if choice not in (None, "auto"):
        raise unsupported("tool_choice", 'Leave it out, or send "auto" or "none".')
    return _distinct([_function(tool, index) for index, tool in enumerate(tools)])


def _function(tool: WireTool, index: int) -> Tool:
    if tool.type != "function":
        raise unsupported(
            f"tools.{index}", f"It is a {tool.type!r} tool; only functions are supported."
        )
    if tool.function is None:
        raise InvalidRequest(
            f"tools.{index} is a function tool without `function`.", param=f"tools.{index}.function"
        )
    function = tool.function
    return Tool(function.name, function.description, function.parameters)


def _distinct(tools: list[Tool]) -> tuple[Tool, ...]:
    names = [tool.name for tool in tools]
    for index, name in enumerate(names):
        if name in names[:index]:
            raise InvalidRequest(
                f"Two tools have the name {name!r}.",
                param=f"tools.{index}.function.name",
                hint="A call names its tool: give each a name of its own.",
            )
    return tuple(tools)
