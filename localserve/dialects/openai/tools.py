"""The tools of a chat request, and whether the model may or must call them.

Knows nothing of HTTP and of how models write calls. Any thread.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from localserve.chat import CallPolicy, Tool
from localserve.dialects.bounds import MAX_TOOLS, ToolName
from localserve.dialects.openai.refusals import unsupported
from localserve.dialects.schema import WireModel
from localserve.errors import InvalidRequest


class FunctionTool(WireModel):
    name: ToolName
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class WireTool(WireModel):
    type: str = "function"
    function: FunctionTool | None = None


WireTools = Annotated[list[WireTool], Field(max_length=MAX_TOOLS)]


class NamedFunction(WireModel):
    name: str


class NamedTool(WireModel):
    type: str = "function"
    function: NamedFunction | None = None


class AllowedTools(WireModel):
    mode: Literal["auto", "required"] = "auto"
    tools: Annotated[list[NamedTool], Field(min_length=1, max_length=MAX_TOOLS)]


class ChosenTools(NamedTool):
    """One function that is to be called, or a list of those that may be."""

    allowed_tools: AllowedTools | None = None


ToolChoice = Literal["none", "auto", "required", "any"] | ChosenTools | None


def read_tools(
    tools: list[WireTool] | None, choice: ToolChoice, parallel: bool | None = None
) -> tuple[tuple[Tool, ...], CallPolicy]:
    """The tools that the model is shown (none under `tool_choice: "none"`), and what it may call.

    Raises: UnsupportedField (a tool that is no function); InvalidRequest.
    """
    if choice == "none":
        return (), CallPolicy()
    if not tools:
        if choice not in (None, "auto"):
            raise InvalidRequest(
                "tool_choice asks for a tool call, but there are no tools.", param="tool_choice"
            )
        return (), CallPolicy()
    offered = _distinct([_function(tool, index) for index, tool in enumerate(tools)])
    required, only = _chosen(choice)
    known = {tool.name for tool in offered}
    for name in only:
        if name not in known:
            raise InvalidRequest(
                f"tool_choice names the function {name!r}, which is not among the tools.",
                param="tool_choice",
                hint=f"Name one of them: {', '.join(sorted(known)[:8])}.",
            )
    return offered, CallPolicy(required, only, parallel is not False)


def _chosen(choice: ToolChoice) -> tuple[bool, tuple[str, ...]]:
    """Whether a call is demanded, and of which tools alone."""
    if not isinstance(choice, ChosenTools):
        return choice in ("required", "any"), ()
    if choice.type == "allowed_tools" and choice.allowed_tools is not None:
        allowed = choice.allowed_tools
        return allowed.mode == "required", tuple(map(_name, allowed.tools))
    return True, (_name(choice),)


def _name(named: NamedTool) -> str:
    if named.type != "function":
        raise unsupported(
            "tool_choice", f"It is of type {named.type[:64]!r}; only functions are supported."
        )
    if named.function is None:
        raise InvalidRequest(
            "tool_choice names no function.",
            param="tool_choice.function",
            hint='Send {"type": "function", "function": {"name": ...}}.',
        )
    return named.function.name


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
    return Tool(function.name, function.description, function.parameters, bool(function.strict))


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
