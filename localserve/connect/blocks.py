"""A block of lines of our own in a file that is a program (a vimrc): between two marks, all else
untouched. Pure; any thread.

As a document such a file is `{"block": TEXT}`, or `{}` without the block.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

BLOCK: Final = "block"


@dataclass(frozen=True, slots=True)
class Block:
    """A block whose marks are comments that begin with `comment`. It stands at the beginning of the
    file, so that it counts for whatever the rest loads."""

    comment: str

    @property
    def begin(self) -> str:
        return f"{self.comment} localserve: written by `localserve connect`, do not edit"

    @property
    def end(self) -> str:
        return f"{self.comment} localserve: end"

    def parse(self, text: str) -> object:
        """The block."""
        found = self._find(text)
        return {} if found is None else {BLOCK: found.group("block").replace("\r\n", "\n")}

    def rewrite(self, text: str, wanted: object) -> str:
        """The text with the block, or without it."""
        assert isinstance(wanted, dict)
        found = self._find(text)
        rest = text if found is None else text[: found.start()] + text[found.end() :]
        if BLOCK not in wanted:
            return rest
        at = 0 if found is None else found.start()
        newline = "\r\n" if "\r\n" in text else "\n"
        lines = [self.begin, *str(wanted[BLOCK]).splitlines(), self.end, ""]
        return rest[:at] + newline.join(lines) + rest[at:]

    def _find(self, text: str) -> re.Match[str] | None:
        begin, end = re.escape(self.begin), re.escape(self.end)
        return re.search(rf"^{begin}\r?\n(?P<block>.*?)\r?\n{end}\r?(?:\n|\Z)", text, re.M | re.S)
