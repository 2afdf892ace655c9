"""Formats that comparing renderings cannot show, by the markers that a template is made of. Pure.

Either the template never renders what the model writes (channels, code between markers), or its
encoding has rules of its own (tags within tags).
"""

from __future__ import annotations

from collections.abc import Callable

from localserve.prompting.output.format import (
    Addressed,
    JsonCalls,
    LiteralCalls,
    NamedCalls,
    OutputFormat,
    Span,
    TaggedCalls,
    ToolCalls,
)

_HARMONY = OutputFormat(
    header="<|start|>assistant",
    reasoning=Span("<|channel|>analysis<|message|>", "<|end|>"),
    calls=ToolCalls(NamedCalls(), bare=True),
    addressed=Addressed(
        start="<|start|>assistant",
        head_end="<|message|>",
        ends=("<|end|>", "<|call|>", "<|return|>"),
        recipient_mark="to=",
        tool_prefix="functions.",
    ),
)

_INVOKED_MESSAGES = OutputFormat(
    header="<|start|>assistant",
    reasoning=Span(),
    calls=ToolCalls(
        TaggedCalls('">', '<atem:parameter name="', '">', "</atem:parameter>"),
        Span("<atem:function_calls>", "</atem:function_calls>"),
        Span('<atem:invoke name="', "</atem:invoke>"),
    ),
    addressed=Addressed(
        start="<|start|>assistant",
        head_end="<|message|>",
        ends=("<|eom|>", "<|eot|>"),
        recipient_mark="to=",
    ),
)

_ARROWS = OutputFormat(
    calls=ToolCalls(NamedCalls(), bare=True),
    addressed=Addressed(start=">>>", head_end="\n"),
)

_NESTED = "]<]minimax[>["

_NESTED_TAGS = OutputFormat(
    reasoning=Span("<mm:think>", "</mm:think>"),
    calls=ToolCalls(
        TaggedCalls(
            name_end='">',
            key_open=_NESTED + "<",
            key_end=">",
            value_close=_NESTED + "</{key}>",
            nested=True,
        ),
        Span(_NESTED + "<tool_call>", _NESTED + "</tool_call>"),
        Span(_NESTED + '<invoke name="', _NESTED + "</invoke>"),
    ),
)

_OPEN_AND_CLOSE = OutputFormat(
    reasoning=Span("<|open|>think<|sep|>", "<|close|>think<|sep|>"),
    content=Span("<|open|>response<|sep|>", "<|close|>response<|sep|>"),
    calls=ToolCalls(
        TaggedCalls(
            name_end='"<|sep|>',
            key_open='<|open|>argument key="',
            key_end="<|sep|>",
            value_close="<|close|>argument<|sep|>",
            string_mark='type="string"',
        ),
        Span("<|open|>tools<|sep|>", "<|close|>tools<|sep|>"),
        Span('<|open|>call tool="', "<|close|>call<|sep|>"),
    ),
    ends=("<|close|>message<|sep|>", "<|end_of_msg|>"),
)

_FAMILIES: tuple[tuple[Callable[[str], bool], OutputFormat], ...] = (
    (lambda source: "<|channel|>" in source and "<|message|>" in source, _HARMONY),
    (lambda source: "<atem:invoke" in source and "<|message|>" in source, _INVOKED_MESSAGES),
    (lambda source: ">>>all" in source or (">>>" in source and "all\\n" in source), _ARROWS),
    (lambda source: _NESTED in source, _NESTED_TAGS),
    (lambda source: "<|open|>" in source and "<|sep|>" in source, _OPEN_AND_CLOSE),
)

_CODE = ToolCalls(LiteralCalls(), each=Span("<|tool_call_start|>", "<|tool_call_end|>"))

_MARKED_LIST = ToolCalls(JsonCalls(), section=Span("<|tool_call|>", "<|/tool_call|>"))

_MENTIONED: tuple[tuple[str, ToolCalls], ...] = (
    ("<|tool_call_start|>", _CODE),
    ("<|tool_list_start|>", _CODE),
    ("List of tools: [", _CODE),
    ("functools[", ToolCalls(JsonCalls(), section=Span("functools"))),
    ("<|tool_call|>", _MARKED_LIST),
    ("<|tool|>", _MARKED_LIST),
    (
        "<|tool_calls_section_begin|>",
        ToolCalls(
            NamedCalls("<|tool_call_argument_begin|>", name_in_id=True),
            Span("<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"),
            Span("<|tool_call_begin|>", "<|tool_call_end|>"),
        ),
    ),
)

HERMES = ToolCalls(JsonCalls(), each=Span("<tool_call>", "</tool_call>"))
"""The commonest form, for templates that say nothing."""


def known_family(source: str) -> OutputFormat | None:
    """The family of a template that only its markers tell."""
    return next((family for fits, family in _FAMILIES if fits(source)), None)


def mentioned_calls(source: str) -> ToolCalls:
    """The form of calls for a template that renders none."""
    return next((calls for marker, calls in _MENTIONED if marker in source), HERMES)
