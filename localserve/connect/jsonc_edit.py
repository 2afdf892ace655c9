"""Changes a text of JSON with comments so that it says something else, touching no more of it than
that takes. Pure; any thread.

One edit at a time, and the text is read again after each: files are small, and no place is ever
stale.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from localserve.connect.jsonc import Child, Node, parse_tree
from localserve.connect.merging import is_named, place_of, same

_REST_OF_LINE = re.compile(r"[ \t]*(?:/\*(?:(?!\*/)[^\n])*\*/[ \t]*)*(?://[^\r\n]*)?(?=\r?\n)")
"""White space and comments up to the end of a line."""


def rewrite(text: str, wanted: object) -> str:
    """The text, saying `wanted`. Raises: Malformed."""
    while True:
        root = parse_tree(text)
        if root is None:
            return _begin(text, wanted)
        if same(root.value, wanted):
            return text
        text = _Editor(text, _layout(text, root)).edit(root, wanted)


def _begin(text: str, wanted: object) -> str:
    """The first value of a text that has none yet; its comments stay in front."""
    if not text.strip("\ufeff \t\r\n"):
        text = ""
    between = "\n" if text and not text.endswith("\n") else ""
    return f"{text}{between}{json.dumps(wanted, indent=2, ensure_ascii=False)}\n"


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the file is written."""

    unit: str
    newline: str


def _layout(text: str, root: Node) -> _Layout:
    unit = "  "
    if root.children and (indent := _indent_of(text, root.children[0].start)):
        unit = indent
    return _Layout(unit, "\r\n" if "\r\n" in text else "\n")


def _indent_of(text: str, at: int) -> str | None:
    """The white space before `at` on its line; None where something else stands before it."""
    before = text[text.rfind("\n", 0, at) + 1 : at]
    return before if not before.strip() else None


def _line_indent(text: str, at: int) -> str:
    """The white space at the beginning of the line of `at`."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip())]


class _Editor:
    def __init__(self, text: str, layout: _Layout) -> None:
        self._text = text
        self._layout = layout

    def edit(self, node: Node, wanted: object) -> str:
        """The text after one step from the node's value towards what is wanted of it."""
        if isinstance(node.value, Mapping) and isinstance(wanted, Mapping):
            return self._edit_object(node, wanted)
        if is_named(node.value) and is_named(wanted) and _keeps_order(node.value, wanted):
            return self._edit_list(node, wanted)
        return self._replace(node, wanted)

    def _edit_object(self, node: Node, wanted: Mapping[str, object]) -> str:
        seen: set[str] = set()
        for child in reversed(node.children):  # of a name that occurs twice the last one counts
            key = child.key
            if key is None or key not in wanted:
                return self._remove(node, child)
            if key in seen:
                continue
            seen.add(key)
            if not same(child.node.value, wanted[key]):
                return self.edit(child.node, wanted[key])
        key = next(key for key in wanted if key not in seen)
        return self._append(node, f"{json.dumps(key, ensure_ascii=False)}: ", wanted[key])

    def _edit_list(self, node: Node, wanted: list[dict[str, object]]) -> str:
        assert is_named(node.value)
        for child, item in zip(node.children, node.value, strict=True):
            place = place_of(wanted, item["name"])
            if place is None:
                return self._remove(node, child)
            if not same(item, wanted[place]):
                return self.edit(child.node, wanted[place])
        return self._append(node, "", wanted[len(node.children)])

    def _replace(self, node: Node, wanted: object) -> str:
        indent = _line_indent(self._text, node.start)
        return self._spliced(node.start, node.end, self._dumped(wanted, indent))

    def _remove(self, node: Node, child: Child) -> str:
        place = node.children.index(child)
        start = child.start
        end = child.node.end if child.comma is None else child.comma + 1
        if _indent_of(self._text, start) is not None:
            rest = re.compile(r"[ \t]*(?=\r?\n)").match(self._text, end)
            if rest is not None:  # it has its lines to itself: they go as a whole
                end = rest.end()
                start = self._text.rfind("\n", 0, start)
                start -= self._text[:start].endswith("\r")
        text = self._spliced(max(0, start), end, "")
        if child.comma is None and place > 0:
            comma = node.children[place - 1].comma
            assert comma is not None
            text = text[:comma] + text[comma + 1 :]
        return text

    def _append(self, node: Node, name: str, value: object) -> str:
        """A new last child."""
        if not node.children:
            return self._fill(node, name, value)
        last = node.children[-1]
        indent = _indent_of(self._text, last.start)
        if indent is None:  # all on one line
            new = f" {name}{json.dumps(value, ensure_ascii=False)}"
            at = last.node.end if last.comma is None else last.comma + 1
            return self._spliced(at, at, new if last.comma is not None else f",{new}")
        comma = "" if last.comma is None else ","
        new = f"{self._layout.newline}{indent}{name}{self._dumped(value, indent)}{comma}"
        at = last.node.end if last.comma is None else last.comma + 1
        rest = _REST_OF_LINE.match(self._text, at)
        behind = at if rest is None else rest.end()
        text = self._spliced(behind, behind, new)
        return text if last.comma is not None else f"{text[:at]},{text[at:]}"

    def _fill(self, node: Node, name: str, value: object) -> str:
        """The first child; comments within the brackets stay before it."""
        outer = _line_indent(self._text, node.start)
        indent = outer + self._layout.unit
        inside = self._text[node.start + 1 : node.end - 1].rstrip()
        newline = self._layout.newline
        new = f"{inside}{newline}{indent}{name}{self._dumped(value, indent)}{newline}{outer}"
        return self._spliced(node.start + 1, node.end - 1, new)

    def _dumped(self, value: object, indent: str) -> str:
        lines = json.dumps(value, indent=self._layout.unit, ensure_ascii=False).split("\n")
        return (self._layout.newline + indent).join(lines)

    def _spliced(self, start: int, end: int, new: str) -> str:
        return self._text[:start] + new + self._text[end:]


def _keeps_order(items: list[dict[str, object]], wanted: list[dict[str, object]]) -> bool:
    """Whether removing items and appending others leads from one list to the other."""
    kept = [item["name"] for item in items if place_of(wanted, item["name"]) is not None]
    return [item["name"] for item in wanted][: len(kept)] == kept
