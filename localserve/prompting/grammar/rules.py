"""Writes the rules of a grammar: markers as their tokens, texts up to a marker, fresh names. Pure.

A special token matches by its id only, and free text never matches one; a marker that is made of
ordinary tokens matches by its letters, and free text before it must not contain them.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from localserve.prompting.grammar.source import Part, literal
from localserve.prompting.output.openers import split_markers

ANY = r"/(?s:.*)/"
SOME = r"/(?s:.+)/"

GAP = r"/[ \n\t]{1,16}/"
"""White space between markers, bounded so that nobody writes it for ever."""


class Rules:
    """The rules and parts of one grammar. `special` are the ids of special tokens by their
    spelling; those among `ends` end an answer and so are in no rule."""

    def __init__(self, special: Mapping[str, int], ends: Collection[int]) -> None:
        self._special = special
        self._ends = ends
        self._lines: dict[str, str] = {}
        self._terminals: dict[str, str] = {}  # names by bodies
        self.parts: list[Part] = []
        by_length = sorted(special, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, by_length))) if by_length else None

    def text(self) -> str:
        """All rules."""
        return "".join(f"{name}: {body}\n" for name, body in self._lines.items())

    def rule(self, name: str, body: str) -> str:
        """Define a rule; returns its name."""
        self._lines[name] = body
        return name

    def terminal(self, body: str, hint: str = "T") -> str:
        """Define a terminal, unless there is one like it; returns its name."""
        if body not in self._terminals:
            self._terminals[body] = self.rule(f"{hint}_{len(self._terminals)}", body)
        return self._terminals[body]

    def part(self, part: Part) -> str:
        """Add a part; returns what refers to it."""
        self.parts.append(part)
        return f"@{part.name}"

    @property
    def gap(self) -> str:
        """White space that may be there."""
        return self.rule("gap", f"{self.terminal(GAP, 'GAP')}?")

    def any_text(self, *without: str) -> str:
        """The body of a terminal that matches all text in which no such text is; empty ones do not
        count."""
        anything = self.terminal(ANY, "ANY")
        lacks = [
            self.terminal(f"{anything} {literal(text)} {anything}", "HAS")
            for text in without
            if text
        ]
        return " & ".join([anything, *(f"~{name}" for name in lacks)])

    def marker(self, text: str) -> str:
        """A marker, or several with white space between them; empty for none."""
        return f" {self.gap} ".join(filter(None, map(self._one, split_markers(text))))

    def closed_by(self, close: str, *bodies: str, line: bool = False) -> str:
        """Text that all of the terminals' `bodies` match (none: any text), then the marker `close`,
        which is not in the text. With `line` a line break stands on both sides of the text."""
        first, *others = list(split_markers(close)) or [""]
        plain, rest = self._leading_text(first)
        text = " & ".join(f"({body})" for body in [self.any_text(plain or ""), *bodies])
        around = literal("\n") if line else ""
        gap = self.gap
        if plain or line:
            begin = self.terminal(f"{around} ({text}) {around} {literal(plain)}".strip(), "UPTO")
        else:
            some = " & ".join([text, f"({SOME})"])
            begin = f"{self.terminal(some, 'TEXT')}?" if not bodies else self.terminal(text, "TEXT")
        behind = " ".join(filter(None, [self._one(rest) if rest else ""]))
        last = "".join(f" {gap} {self._one(marker)}" for marker in others if self._one(marker))
        return f"{begin} {behind}{last}"

    def starts_special(self, text: str) -> bool:
        """Whether the marker begins with a special token."""
        found = self._pattern.match(text.strip()) if self._pattern else None
        return found is not None

    def _leading_text(self, marker: str) -> tuple[str, str]:
        """What of a marker comes before its first special token, and the rest."""
        found = self._pattern.search(marker) if self._pattern else None
        at = found.start() if found else len(marker)
        return marker[:at], marker[at:]

    def _one(self, marker: str) -> str:
        """One marker as tokens and texts. What comes with or behind the end of an answer is cut."""
        items: list[str] = []
        while marker:
            plain, marker = self._leading_text(marker)
            if plain:
                items.append(literal(plain))
            found = self._pattern.match(marker) if self._pattern and marker else None
            if found is None:
                break
            token = self._special[found[0]]
            if token in self._ends:
                break
            items.append(f"<[{token}]>")
            marker = marker[found.end() :]
        return " ".join(items)
