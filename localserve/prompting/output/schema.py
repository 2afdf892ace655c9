"""What a tool's JSON schema says of the types of its arguments. Pure.

Models that write arguments between tags do not quote strings, so the schema has to tell whether
`42` is a number. A schema is untrusted: what makes no sense allows every type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

Schema = Mapping[str, object]

_MOST_STEPS = 64
_NAMES = {str: "string", bool: "boolean", int: "number", float: "number", type(None): "null"}


def rooted(parameters: Schema | None) -> Schema:
    """The schema that the root refers to, where it is no more than that, as generators write it."""
    root = known = parameters or {}
    for _ in range(_MOST_STEPS):
        reference = root.get("$ref")
        target = resolve(reference, known) if isinstance(reference, str) else None
        if not isinstance(target, Mapping):
            break
        beside = {key: value for key, value in root.items() if key != "$ref"}
        root = {**beside, **target}
    return root


def argument_types(parameters: Schema | None, key: str) -> frozenset[str]:
    """The JSON types that the argument may have; empty where nothing is known."""
    properties = (parameters or {}).get("properties")
    schema = properties.get(key) if isinstance(properties, Mapping) else None
    return frozenset(_types(schema, parameters or {}))


def _types(schema: object, root: Schema) -> Iterable[str]:
    pending = [schema]
    for _ in range(_MOST_STEPS):
        if not pending:
            return
        part = pending.pop()
        if not isinstance(part, Mapping):
            continue
        kind = part.get("type")
        if isinstance(kind, str):
            yield kind
        elif isinstance(kind, list):
            yield from (name for name in kind if isinstance(name, str))
        elif isinstance(
            values := part.get("enum", [part["const"]] if "const" in part else 0), list
        ):
            yield from (_NAMES.get(type(value), "object") for value in values)
        for union in ("anyOf", "oneOf", "allOf"):
            if isinstance(members := part.get(union), list):
                pending.extend(members[:_MOST_STEPS])
        if isinstance(reference := part.get("$ref"), str):
            pending.append(resolve(reference, root))


def resolve(reference: str, root: Schema) -> object:
    """What a reference of the form `#/a/b` leads to, or `#`; None where it leads nowhere."""
    here: object = root
    if reference == "#":
        return root
    for name in reference.removeprefix("#/").split("/")[:_MOST_STEPS]:
        here = here.get(name) if isinstance(here, Mapping) else None
    return here
