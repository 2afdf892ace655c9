"""The arguments of calls that are no JSON, as rules: between tags, or like code. Pure.

What stands in them follows the tool's schema, property by property in its order, and is a part of
what the parsers of such calls read. Strings are raw text there, so what a schema says of them is
put in the terms of regular expressions; all other values are JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from localserve.chat import Tool
from localserve.errors import GrammarInvalid
from localserve.prompting.grammar.rules import Rules
from localserve.prompting.grammar.schema import with_options
from localserve.prompting.grammar.source import SchemaPart, between_slashes, literal
from localserve.prompting.output.format import LiteralCalls, TaggedCalls
from localserve.prompting.output.schema import argument_types, resolve, rooted

KEY = r"/[A-Za-z_][A-Za-z0-9_.\-]{0,63}/"
"""A name that a tool whose schema names no arguments may give to one."""

SCALARS: Mapping[str, str] = {
    "null": r"/null|None/",
    "boolean": r"/true|false|True|False/",
    "integer": r"/-?(0|[1-9][0-9]{0,17})/",
    "number": r"/-?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?([eE][+\-]?[0-9]{1,3})?/",
}
JSON_LIKE = r'/\s*(-?[0-9](?s:.*)|null|None|true|false|True|False|["{\[](?s:.*))\s*/'
"""What a parser would not take for a string, where other types are possible."""

_JSON_LIKE = re.compile(JSON_LIKE[1:-1])

OTHER_MARKS = '/(false|number|integer|boolean|object|array|null)"/'

WHOLE = "_whole"
"""The definition of a tool's whole schema beside that of one of its arguments."""

_OF_ROOTS = frozenset({"properties", "required", "$defs", "definitions", "$schema", "$id"}) | {
    *("type", "title", "description", "default", "examples", "$comment")
}

MOST_STEPS = 32
"""Schemas within schemas that are looked at."""

_NOTES = frozenset({"type", "title", "description", "default", "examples", "$comment"})
_LIMITS = frozenset({"enum", "const", "pattern", "minLength", "maxLength"})
_OF_OTHERS = frozenset(
    {
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"),
        *("properties", "required", "additionalProperties", "patternProperties"),
        *("minProperties", "maxProperties", "propertyNames"),
    }
)
"""What a schema says of other types, and of no string."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One property of a tool's arguments."""

    key: str
    schema: Mapping[str, object]
    types: frozenset[str]
    required: bool


def arguments_of(parameters: Mapping[str, object] | None) -> list[Argument] | None:
    """The properties, in order; None where the schema names none and so allows any."""
    known = parameters or {}
    properties = known.get("properties")
    if not isinstance(properties, Mapping) or not properties:
        return None
    required = [key for key in _listed(known.get("required")) if isinstance(key, str)]
    return [
        Argument(key, schema if isinstance(schema, Mapping) else {}, types, key in required)
        for key, schema in properties.items()
        for types in [argument_types(known, key)]
    ]


def root_of(tool: Tool) -> Mapping[str, object]:
    """The schema of a tool's arguments. Raises: GrammarInvalid, if the tool is strict, for what the
    rules of its properties do not enforce."""
    root = rooted(tool.parameters)
    if not tool.strict:
        return root
    properties = root.get("properties")
    known = properties if isinstance(properties, Mapping) else {}
    unknown = [key for key in _listed(root.get("required")) if key not in [*known]]
    if unknown:
        raise _unenforced(f"The required argument {unknown[0]!r}, which is no property,")
    for key, value in root.items():
        free = key == "additionalProperties" and (known or value in (True, False, {}))
        if key not in _OF_ROOTS and not free:
            raise _unenforced(f"The keyword {key!r} beside the properties of a tool")
    return root


def _listed(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _unenforced(what: str) -> GrammarInvalid:
    return GrammarInvalid(
        f"{what} cannot be enforced in the form in which this model writes its calls.",
        param="tools",
        hint="Leave it out, or say it of a property.",
    )


class TaggedArguments:
    """Arguments between tags, for one tool."""

    def __init__(self, rules: Rules, form: TaggedCalls, tool: Tool, name: str) -> None:
        self._rules = rules
        self._form = form
        self._root = root_of(tool)
        self._strict = tool.strict
        self._name = name

    def rule(self) -> str:
        """What matches all arguments."""
        arguments = arguments_of(self._root)
        gap = self._rules.gap
        if arguments is None:
            if self._root.get("additionalProperties") is False:
                return ""
            body = f"{self._tag(self._key, string=True)} {self._value_of_any_key()}"
            return f"({self._rules.rule(f'{self._name}_any', body)} {gap})*"
        items: list[str] = []
        for index, argument in enumerate(arguments):
            rule = self._rules.rule(f"{self._name}_{index}", self._argument(argument, index))
            items.append(f"{rule} {gap}" if argument.required else f"({rule} {gap})?")
        return " ".join(items)

    @property
    def _key(self) -> str:
        return self._rules.terminal(KEY, "KEY")

    def _value_of_any_key(self) -> str:
        """What closes it may name the key, which is not known then, and need not be the same."""
        before, named, after = self._form.value_close.partition("{key}")
        value = self._rules.closed_by(before, line=self._form.lines)
        return f"{value} {self._key} {self._rules.marker(after)}" if named else value

    def _argument(self, argument: Argument, index: int) -> str:
        close = self._form.value_close.replace("{key}", argument.key)
        key = literal(argument.key)
        if argument.types == {"string"}:
            return self._text(argument, key, close)
        tag = self._tag(key, string=False)
        if not self._form.string_mark and (bodies := self._unmarked(argument)) is not None:
            return f"{tag} {self._rules.closed_by(close, *bodies, line=self._form.lines)}"
        part = SchemaPart(f"{self._name}_{index}_value", sub_schema(self._root, argument))
        line = literal("\n") if self._form.lines else ""
        marker = self._rules.marker(close)
        other = f"{tag} {line} {self._rules.part(part)} {self._rules.gap} {marker}"
        if self._form.string_mark and may_be_text(argument):
            return f"({self._text(argument, key, close)}) | ({other})"
        return other

    def _unmarked(self, argument: Argument) -> list[str] | None:
        """What may stand for the argument where nothing marks a string, as bodies of terminals;
        None if it must be JSON."""
        schema = argument.schema
        options = schema.get("enum", [schema["const"]] if "const" in schema else None)
        if (
            isinstance(options, list)
            and may_be_text(argument)
            and {*schema} - _NOTES in ({"enum"}, {"const"})
        ):
            return [" | ".join(literal(_as_written(option)) for option in options)]
        if not argument.types and {*schema} <= _NOTES:
            return []
        if _mixed(argument):
            kinds = sorted(argument.types & {*SCALARS})
            scalars = " | ".join(f"({SCALARS[kind]})" for kind in kinds)
            words = f"({self._rules.any_text()}) & ~{self._rules.terminal(JSON_LIKE, 'JSONLIKE')}"
            return [f"({words}) | {scalars}"]
        return None

    def _text(self, argument: Argument, key: str, close: str) -> str:
        """The argument, where its value is a string."""
        bodies = string_bodies(argument.schema, self._root, strict=self._strict)
        body = self._rules.closed_by(close, *bodies, line=self._form.lines)
        return f"{self._tag(key, string=True)} {body}"

    def _tag(self, key: str, *, string: bool) -> str:
        """All before a value; `string` says whether it is to be marked as one."""
        form, rules = self._form, self._rules
        mark = ""
        if form.string_mark:
            attribute = form.string_mark.partition("=")[0]
            quote = form.key_open[-1:] if form.key_open.endswith(('"', "'")) else ""
            lead = literal(quote + " ")
            other = f'{attribute}="'
            marked = rules.terminal(f"{lead} {literal(form.string_mark)}", "MARK")
            unmarked = rules.terminal(f"{lead} {literal(other)} {OTHER_MARKS}", "MARK")
            mark = marked if string else unmarked
        return f"{rules.marker(form.key_open)} {key} {mark} {rules.marker(form.key_end)}"


class LiteralArguments:
    """Arguments like code, for one tool: `key=value` with commas between them."""

    def __init__(self, rules: Rules, form: LiteralCalls, tool: Tool, name: str) -> None:
        self._rules = rules
        self._form = form
        self._root = root_of(tool)
        self._strict = tool.strict
        self._name = name

    def rule(self) -> str:
        """What matches all arguments."""
        arguments = arguments_of(self._root)
        if arguments is None:
            if self._root.get("additionalProperties") is False:
                return ""
            free = self._rules.rule(
                f"{self._name}_any",
                f"{self._rules.terminal(KEY, 'KEY')} {literal(self._form.assign)} {self._text()}",
            )
            return f'({free} ("," {self._rules.gap} {free})*)?'
        begun = after = ""
        for index in reversed(range(len(arguments))):
            begun, after = self._from(arguments[index], index, begun, after)
        return begun

    def _from(self, argument: Argument, index: int, begun: str, after: str) -> tuple[str, str]:
        """Rules for what is left from an argument on: before any was written, and behind one."""
        rules, gap = self._rules, self._rules.gap
        pair = rules.rule(
            f"{self._name}_{index}",
            f"{literal(argument.key)} {literal(self._form.assign)} {self._value(argument, index)}",
        )
        first, later = f"{pair} {after}".strip(), f'"," {gap} {pair} {after}'.strip()
        if not argument.required:
            first = f"({first}) | {begun}" if begun else f"({first})?"
            later = f"({later}) | {after}" if after else f"({later})?"
        return (
            rules.rule(f"{self._name}_{index}_begun", first),
            rules.rule(f"{self._name}_{index}_after", later),
        )

    def _value(self, argument: Argument, index: int) -> str:
        if argument.types == {"string"}:
            bodies = string_bodies(argument.schema, self._root, strict=self._strict)
            if self._form.quote or not bodies:
                return self._text(*bodies)
        if (
            argument.types
            and argument.types <= {"boolean", "null"}
            and not (_LIMITS & {*argument.schema})
        ):
            kinds = sorted(argument.types)
            return self._rules.terminal(" | ".join(SCALARS[kind] for kind in kinds), "WORD")
        part = self._rules.part(
            SchemaPart(f"{self._name}_{index}_value", sub_schema(self._root, argument))
        )
        if self._form.quote and may_be_text(argument):
            bodies = string_bodies(argument.schema, self._root, strict=self._strict)
            return f"({self._text(*bodies)}) | ({part})"
        return part

    def _text(self, *bodies: str) -> str:
        quote = self._form.quote
        if quote:
            return f"{self._rules.marker(quote)} {self._rules.closed_by(quote, *bodies)}"
        return self._rules.terminal(
            r"""/"([^"\\\x00-\x1f]|\\["\\bfnrt\/])*"|'([^'\\\x00-\x1f]|\\['"\\nrt])*'/""", "QUOTED"
        )


def string_bodies(
    schema: object, root: Mapping[str, object], *, strict: bool, steps: int = 0
) -> list[str]:
    """What a schema says of a string, as bodies of terminals. Raises: GrammarInvalid, if `strict`,
    for what cannot be said so."""
    if not isinstance(schema, Mapping) or steps > MOST_STEPS:
        return []
    bodies: list[str] = []
    options = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(options, list):
        texts = [literal(option) for option in options if isinstance(option, str)]
        bodies.append(" | ".join(texts) or literal(""))
    least, most = schema.get("minLength"), schema.get("maxLength")
    if least is not None or most is not None:
        bodies.append(f"/(?s:.){{{_count(least) or 0},{_count(most)}}}/")
    if isinstance(pattern := schema.get("pattern"), str):
        bodies.append(_searching(pattern))
    for key, value in schema.items():
        if key in ("anyOf", "oneOf") and isinstance(value, list):
            inner = [string_bodies(one, root, strict=strict, steps=steps + 1) for one in value]
            if all(inner):
                bodies.append(" | ".join(" & ".join(f"({body})" for body in one) for one in inner))
        elif key == "allOf" and isinstance(value, list):
            for one in value:
                bodies += string_bodies(one, root, strict=strict, steps=steps + 1)
        elif key == "$ref" and isinstance(value, str):
            target = resolve(value, root)
            bodies += string_bodies(target, root, strict=strict, steps=steps + 1)
        elif strict and key not in _NOTES | _LIMITS | _OF_OTHERS:
            raise GrammarInvalid(
                f"The keyword {key!r} of a string cannot be enforced in the form in which this"
                " model writes its calls.",
                param="tools",
                hint="Leave it out, or use pattern, enum, minLength or maxLength.",
            )
    return bodies


def sub_schema(root: Mapping[str, object], argument: Argument) -> Mapping[str, object]:
    """An argument's schema by itself, with the definitions that it may refer to. One that refers to
    the whole, as a tree does, has that among them."""
    named = {key: root.get(key) for key in ("$defs", "definitions")}
    shared = {key: value for key, value in named.items() if isinstance(value, Mapping)}
    alone = {**argument.schema, **shared}
    moved = _moved(alone)
    if moved == alone:
        return with_options(alone)
    assert isinstance(moved, dict)
    whole = _moved({key: value for key, value in root.items() if key not in shared})
    return with_options({**moved, "$defs": {**moved.get("$defs", {}), WHOLE: whole}})


def _moved(part: object) -> object:
    """A schema whose references to the root, but for its definitions, lead to `WHOLE`."""
    if isinstance(part, list):
        return [_moved(one) for one in part]
    if not isinstance(part, Mapping):
        return part
    found = {key: _moved(value) for key, value in part.items()}
    reference = part.get("$ref")
    if isinstance(reference, str) and not reference.startswith(("#/$defs/", "#/definitions/")):
        found["$ref"] = f"#/$defs/{WHOLE}{reference.removeprefix('#')}"
    return found


def may_be_text(argument: Argument) -> bool:
    """Whether a string may be its value; one without a type may be anything."""
    return not argument.types or "string" in argument.types


def _as_written(option: object) -> str:
    """One of the values that a schema lists, as a parser takes it for what it is."""
    plain = isinstance(option, str) and not _JSON_LIKE.fullmatch(option)
    return str(option) if plain else json.dumps(option, ensure_ascii=False)


def _mixed(argument: Argument) -> bool:
    """Whether it is a string or a scalar, without any limit that a regular expression would need
    to know."""
    members = argument.schema.get("anyOf")
    parts = [argument.schema, *(members if isinstance(members, list) else [])]
    simple = all(isinstance(part, Mapping) and {*part} <= _NOTES | {"anyOf"} for part in parts)
    return simple and "string" in argument.types and argument.types <= {"string", *SCALARS}


def _count(value: object) -> str:
    return str(int(value)) if isinstance(value, int | float) and value >= 0 else ""


def _searching(pattern: str) -> str:
    """A pattern that may match anywhere, as one that matches all of a text."""
    anything = r"/(?s:.*)/"
    begins, ends = pattern.startswith("^"), re.search(r"(?<!\\)(\\\\)*\$\Z", pattern)
    core = pattern[1:] if begins else pattern
    core = core[:-1] if ends else core
    body = f"/(?:{between_slashes(core)[1:-1]})/"
    return " ".join([*([] if begins else [anything]), body, *([] if ends else [anything])])
