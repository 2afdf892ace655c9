"""JSON with comments, as editors keep their settings, read with the place of each value.

Reads what editors read: comments, a comma behind the last item, a byte order mark, nothing at all.
Pure; any thread.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Final

MOST_DEPTH: Final = 100

_TRIVIA = re.compile(r"(?:[\s\ufeff]|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_PLAIN = re.compile(r"-?[0-9][0-9.eE+-]*|true\b|false\b|null\b")


class Malformed(ValueError):
    """A text that does not follow the rules of its format."""


@dataclass(slots=True)
class Child:
    """A member of an object or an item of an array (`key` is None).

    `start` is where its key or its value begins, `comma` where the comma behind it stands.
    """

    key: str | None
    start: int
    node: Node
    comma: int | None = None


@dataclass(slots=True)
class Node:
    """A value, from `start` to `end` of the text; objects and arrays have children."""

    start: int
    end: int
    value: object
    children: list[Child] = field(default_factory=list)


def parse(text: str) -> object:
    """The value; an empty object where there is nothing but comments. Raises: Malformed."""
    node = parse_tree(text)
    return {} if node is None else node.value


def parse_tree(text: str) -> Node | None:
    """The value with its places; None where there is none. Raises: Malformed."""
    return _Parser(text).document()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def document(self) -> Node | None:
        self._skip()
        if self._at == len(self._text):
            return None
        node = self._value(0)
        self._skip()
        if self._at < len(self._text):
            raise self._error("something stands behind the end")
        return node

    def _value(self, depth: int) -> Node:
        if depth > MOST_DEPTH:
            raise self._error(f"values are nested more than {MOST_DEPTH} deep")
        next_one = self._peek()
        if next_one == "{":
            node = self._container("}", depth)
            node.value = {child.key: child.node.value for child in node.children}
            return node
        if next_one == "[":
            node = self._container("]", depth)
            node.value = [child.node.value for child in node.children]
            return node
        return self._scalar(_STRING if next_one == '"' else _PLAIN)

    def _container(self, close: str, depth: int) -> Node:
        node = Node(self._at, self._at, None)
        self._at += 1
        self._skip()
        while self._peek() != close:
            if node.children and node.children[-1].comma is None:
                raise self._error("a comma is missing")
            node.children.append(self._child(close, depth))
            self._skip()
            if self._peek() == ",":
                node.children[-1].comma = self._at
                self._at += 1
                self._skip()
        self._at += 1
        node.end = self._at
        return node

    def _child(self, close: str, depth: int) -> Child:
        start, key = self._at, None
        if close == "}":
            key = self._scalar(_STRING).value
            self._skip()
            if self._peek() != ":":
                raise self._error("a colon is missing")
            self._at += 1
            self._skip()
        assert key is None or isinstance(key, str)
        return Child(key, start, self._value(depth + 1))

    def _scalar(self, kind: re.Pattern[str]) -> Node:
        match = kind.match(self._text, self._at)
        if match is None:
            raise self._error("a value or a name in double quotes is expected")
        try:
            value = json.loads(match.group(), strict=False)
        except ValueError:
            raise self._error(f"{match.group()[:40]} is no value") from None
        self._at = match.end()
        return Node(match.start(), match.end(), value)

    def _skip(self) -> None:
        """Go on behind white space and comments."""
        match = _TRIVIA.match(self._text, self._at)
        assert match is not None
        self._at = match.end()

    def _peek(self) -> str:
        return self._text[self._at : self._at + 1]

    def _error(self, problem: str) -> Malformed:
        if self._at >= len(self._text):
            problem = "it ends too early"
        line = self._text.count("\n", 0, self._at) + 1
        return Malformed(f"line {line}: {problem}")
