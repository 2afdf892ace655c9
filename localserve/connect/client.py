"""What is known of a client, as a value: where its configuration lies and what must stand in it.

Pure but for looking at the disk; any thread.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from localserve.connect import documents, jsonc, jsonc_edit
from localserve.connect.blocks import Block
from localserve.connect.merging import ABSENT, settle
from localserve.connect.places import Folder, Surroundings
from localserve.connect.served import Served


class Format(Protocol):
    """How a file says what it says."""

    def parse(self, text: str) -> object:
        """What it says: objects, lists and scalars. Raises: Malformed."""
        ...

    def rewrite(self, text: str, wanted: object) -> str:
        """The text, saying `wanted`, with as little changed as can be. Raises: Malformed."""
        ...


@dataclass(frozen=True, slots=True)
class _Pair:
    """A format made of two functions."""

    parse: Callable[[str], object]
    rewrite: Callable[[str, object], str]


JSON: Format = _Pair(jsonc.parse, jsonc_edit.rewrite)
TOML: Format = _Pair(documents.parse_toml, documents.rewrite_toml)
YAML: Format = _Pair(documents.parse_yaml, documents.rewrite_yaml)
VIM: Format = Block('"')
LUA: Format = Block("--")

AGENT_CONTEXT_TOKENS: Final = 16_384
"""What an agent's instructions and tools want; Claude Code's alone take some 24,000."""

Content = Callable[[Served], object]
"""From the server to what must stand in a file; `Default`s only where the file says nothing."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file of a client."""

    folder: Folder
    name: str
    format: Format
    content: Content

    def path(self, account: Surroundings) -> Path:
        return self.folder.find(account) / self.name

    def snippet(self, served: Served) -> str:
        """What the file would say if nothing else stood in it."""
        return self.format.rewrite("", settle(self.content(served), ABSENT))


@dataclass(frozen=True, slots=True)
class Client:
    """A program that can use the server.

    `routes` are those that it asks. `programs`, `folders` and `extensions` (of VS Code) show that
    it is installed. Of the files in `either` it reads one: the first that exists, else the last.
    `environment` and `steps` (what is left to do by hand) are templates with
    {url}, {v1}, {key}, {model}, {context} and {output}. With fewer than `least_context_tokens` its
    own instructions and tools leave too little for anything else.
    """

    name: str
    title: str
    routes: tuple[str, ...]
    files: tuple[ConfigFile, ...] = ()
    either: tuple[ConfigFile, ...] = ()
    programs: tuple[str, ...] = ()
    folders: tuple[Folder, ...] = ()
    extensions: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    least_context_tokens: int = 0

    def installed(self, account: Surroundings) -> bool:
        """Whether it was found on this machine."""
        return (
            any(map(account.has_program, self.programs))
            or any(folder.exists(account) for folder in self.folders)
            or any(map(account.has_extension, self.extensions))
        )

    def files_for(self, account: Surroundings) -> tuple[ConfigFile, ...]:
        """The files that it reads on this machine."""
        there = (file for file in self.either if file.path(account).is_file())
        return self.files + tuple([next(there, self.either[-1])] if self.either else [])

    def variables(self, served: Served) -> dict[str, str]:
        """The environment that it needs."""
        filled = fill(served)
        return {name: text.format(**filled) for name, text in self.environment.items()}

    def instructions(self, served: Served) -> list[str]:
        """What is left to do by hand."""
        filled = fill(served)
        return [text.format(**filled) for text in self.steps]


def fill(served: Served) -> dict[str, str]:
    """What templates can name."""
    main = served.main
    return {
        "url": served.url,
        "v1": served.v1,
        "key": served.key,
        "model": main.name,
        "context": str(main.context_tokens),
        "output": str(main.output_tokens),
    }


def quoted(text: str) -> str:
    """A string in double quotes, as JSON, vimscript and Lua all read it."""
    return json.dumps(text, ensure_ascii=False)
