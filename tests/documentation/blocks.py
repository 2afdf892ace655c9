"""The fenced blocks of README and docs: which there are, what they say, what they print."""

from __future__ import annotations

import doctest
import importlib.util
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Final

from tests.documentation.not_run import NOT_RUN, RUN_ELSEWHERE

ROOT: Final = Path(__file__).parent.parent.parent
HARMLESS: Final = ("curl", "echo", "grep", "printf")
NOT_HARMLESS: Final = ("up", "pull", "rm", "service", "stop")
"""Of localserve: what serves, downloads, deletes, installs, or ends the server of all blocks."""

_SETS: Final = re.compile(r"[A-Za-z_]\w*=")
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
    """Whether a test runs it: Python, and what consists of harmless commands. Nothing else is run
    only because a page has it."""
    if block.key in NOT_RUN or (block.file, block.language) in RUN_ELSEWHERE:
        return False
    if block.language == "bash":
        return all(map(_is_harmless, commands_of(block.text)))
    return block.language == "python"


def commands_of(script: str) -> Iterator[list[str]]:
    """The words of each simple command of a script, those of substitutions included."""
    lexer = shlex.shlex(script.replace("\\\n", " "), posix=True, punctuation_chars=";|&()\n")
    lexer.whitespace, lexer.commenters, lexer.whitespace_split = " \t", "", True
    words: list[str] = []
    for token in [*lexer, "\n"]:
        if not set(token) <= set(";|&()\n"):
            words.append(token)
            continue
        until = next((at for at, word in enumerate(words) if word.startswith("#")), len(words))
        start = next((at for at, word in enumerate(words[:until]) if not _SETS.match(word)), until)
        if words[start:until]:
            yield words[start:until]
        words = []


def _is_harmless(words: list[str]) -> bool:
    program, *arguments = words
    if program != "localserve":
        return program in HARMLESS
    return bool(arguments) and arguments[0] not in NOT_HARMLESS


def shows(output: str, printed: str) -> bool:
    """Whether that is what was printed: `...` stands for anything, and white space is one space."""
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    return doctest.OutputChecker().check_output(output, printed, flags)
