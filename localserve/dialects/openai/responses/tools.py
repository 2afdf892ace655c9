"""The tools of the responses API as those of chat. Any thread."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from localserve.dialects.bounds import MAX_TOOLS, ToolName
from localserve.dialects.openai.refusals import unsupported
from localserve.dialects.openai.tools import (
    ChosenTools,
    FunctionTool,
    NamedFunction,
    ToolChoice,
    WireTool,
)
from localserve.dialects.schema import WireModel
from localserve.errors import InvalidRequest


def _finite(schema: dict[str, Any]) -> dict[str, Any]:
    """Responses repeat it, and JSON knows no number that is none. Raises: ValueError."""
    json.dumps(schema, allow_nan=False)
    return schema


class FlatTool(WireModel):
    """A tool whose fields lie beside its type. Functions need a name."""

    type: str = "function"
    name: ToolName | None = None
    description: str | None = None
    parameters: Annotated[dict[str, Any], AfterValidator(_finite)] | None = None
    strict: bool | None = None

    def echo(self) -> dict[str, object]:
        """As the response repeats it."""
        return {
            "type": self.type,
            "name": self.name,
            "description": self.description,
            "parameters": self.parameters,
            "strict": bool(self.strict),
        }


FlatChoice = str | dict[str, Any] | None

FlatTools = Annotated[list[FlatTool], Field(max_length=MAX_TOOLS)]


def offered_tools(tools: list[FlatTool], choice: FlatChoice) -> tuple[list[WireTool], ToolChoice]:
    """The functions among the tools and the choice, in the form of chat. Raises: InvalidRequest."""
    offered = [_function(tool, index) for index, tool in enumerate(tools)]
    functions = [tool for tool in offered if tool is not None]
    if not isinstance(choice, dict):
        return functions, _mode(choice)
    if choice.get("type") == "allowed_tools":
        allowed = _names(choice.get("tools"))
        mode = _mode(choice.get("mode"))
        return [tool for tool in functions if _name(tool) in allowed], mode
    name = choice.get("name")
    function = NamedFunction(name=name) if isinstance(name, str) else None
    return functions, ChosenTools(type=str(choice.get("type")), function=function)


def _mode(choice: object) -> ToolChoice:
    match choice:
        case None | "none" | "auto" | "required" | "any":
            return choice
    raise unsupported("tool_choice", 'Send "none", "auto", "required", or a function.')


def _function(tool: FlatTool, index: int) -> WireTool | None:
    if tool.type != "function":
        return None
    if tool.name is None:
        raise InvalidRequest(f"tools.{index} has no name.", param=f"tools.{index}.name")
    function = FunctionTool(
        name=tool.name,
        description=tool.description,
        parameters=tool.parameters,
        strict=tool.strict,
    )
    return WireTool(function=function)


def _names(tools: object) -> set[str]:
    listed = tools if isinstance(tools, list) else []
    names = (tool.get("name") for tool in listed if isinstance(tool, dict))
    return {name for name in names if isinstance(name, str)}


def _name(tool: WireTool) -> str | None:
    return tool.function.name if tool.function else None
