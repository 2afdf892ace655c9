"""TOML and YAML, changed so that comments, order and layout stay as far as tomlkit and ruamel.yaml
keep them.

Both are loaded when they are needed. Pure; any thread.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, MutableMapping, MutableSequence
from typing import Any

from localserve.connect.jsonc import Malformed
from localserve.connect.merging import is_named, place_of, same

WIDEST_LINE = 1 << 16
"""YAML: so that no long line is broken anew."""


def parse_toml(text: str) -> object:
    """The document. Raises: Malformed."""
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Malformed(str(error)) from None


def rewrite_toml(text: str, wanted: object) -> str:
    """The text, saying `wanted`. Raises: Malformed."""
    import tomlkit

    parse_toml(text)
    document = tomlkit.parse(text)
    _assign(document, wanted)
    return tomlkit.dumps(document)


def parse_yaml(text: str) -> object:
    """The document; an empty object where there is none. Raises: Malformed."""
    document = _load_yaml(text)[0]
    return {} if document is None else _plain(document)


def rewrite_yaml(text: str, wanted: object) -> str:
    """The text, saying `wanted`. Raises: Malformed."""
    document, yaml = _load_yaml(text)
    out = io.StringIO()
    if document is None:
        yaml.dump(wanted, out)
        between = "\n" if text and not text.endswith("\n") else ""
        return text + between + out.getvalue()
    _assign(document, wanted)
    yaml.dump(document, out)
    return out.getvalue()


def _load_yaml(text: str) -> tuple[Any, Any]:
    """The document, with its comments, and the writer that keeps its layout."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError
    from ruamel.yaml.util import load_yaml_guess_indent

    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = WIDEST_LINE
    try:
        document = yaml.load(text)
        _, indent, offset = load_yaml_guess_indent(text)
    except YAMLError as error:
        raise Malformed(" ".join(str(error).split())) from None
    if indent:
        yaml.indent(sequence=indent, offset=offset)
    return document, yaml


def _plain(value: object) -> object:
    """The value without what a library keeps besides."""
    if isinstance(value, Mapping):
        return {_plain(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    for kind in (bool, int, float, str):
        if isinstance(value, kind):
            return kind(value)
    return value


def _assign(document: MutableMapping[str, Any], wanted: object) -> None:
    """Change what differs, and nothing else."""
    assert isinstance(wanted, Mapping)
    for key in [key for key in document if key not in wanted]:
        del document[key]
    for key, value in wanted.items():
        current = document.get(key)
        if isinstance(current, MutableMapping) and isinstance(value, Mapping):
            _assign(current, value)
        elif isinstance(current, MutableSequence) and is_named(current) and is_named(value):
            _assign_items(current, value)
        elif key not in document or not same(_plain(current), value):
            document[key] = value


def _assign_items(items: MutableSequence[Any], wanted: list[dict[str, object]]) -> None:
    for at in reversed(range(len(items))):
        if place_of(wanted, items[at]["name"]) is None:
            del items[at]
    for value in wanted:
        place = place_of(items, value["name"])
        if place is None:
            items.append(value)
        else:
            _assign(items[place], value)
