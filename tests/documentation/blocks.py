"""The fenced blocks of README and docs: which there are, what they say, what they print."""

from __future__ import annotations

import doctest
import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

from tests.documentation.not_run import NOT_RUN

ROOT: Final = Path(__file__).parent.parent.parent
RUN: Final = ("bash", "python")
_FENCE: Final = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block; `output` is what a run of it shows, if the page says so."""

    file: str
    line: int
    language: str
    text: str
    output: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """How the list of blocks that are not run names it: by file and first line."""
        return self.file, self.text.split("\n", 1)[0]

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@cache
def generator() -> ModuleType:
    """scripts/generate_docs.py."""
    path = ROOT / "scripts" / "generate_docs.py"
    spec = importlib.util.spec_from_file_location("generate_docs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def written_by_hand() -> dict[str, str]:
    """The texts that are nobody's output, by their paths in the repository."""
    generated = {f"docs/{name}" for name in generator().pages()}
    found = (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    names = {path.relative_to(ROOT).as_posix(): path for path in sorted(found)}
    return {name: path.read_text() for name, path in names.items() if name not in generated}


@cache
def blocks() -> tuple[Block, ...]:
    """All blocks of these texts. A `text` block right behind one that is run is its output."""
    found: list[Block] = []
    for file, text in written_by_hand().items():
        end = -1
        for match in _FENCE.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            block = Block(file, line, match[1].strip(), match[2])
            adjoins = end >= 0 and not text[end : match.start()].strip()
            if adjoins and block.language == "text" and is_run(found[-1]):
                before = found[-1]
                found[-1] = Block(file, before.line, before.language, before.text, block.text)
            else:
                found.append(block)
            end = match.end()
    return tuple(found)


def is_run(block: Block) -> bool:
    """Whether a test runs it."""
    return block.language in RUN and block.key not in NOT_RUN


def shows(output: str, printed: str) -> bool:
    """Whether that is what was printed: `...` stands for anything, and white space is one space."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(output, printed, flags)
