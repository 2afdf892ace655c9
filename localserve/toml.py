"""A TOML file whose errors name the line: what `tomllib` reads, plus where each key was written.

Knows nothing of settings or models. Pure but for reading one file; any thread.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from localserve.errors import ConfigInvalid

MAX_FILE_BYTES: Final = 4 << 20
KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TomlFile:
    """The values of a file and the line on which each key first appears."""

    path: Path
    values: Mapping[str, object]
    lines: Mapping[KeyPath, int]

    def line(self, *keys: str) -> int:
        """The line of a key; of the nearest key around it where it has none of its own."""
        while keys and keys not in self.lines:
            keys = keys[:-1]
        return self.lines.get(keys, 1)

    def where(self, *keys: str) -> str:
        """`FILE line N`, to open an error message with."""
        return f"{self.path} line {self.line(*keys)}"

    def error(self, keys: KeyPath, problem: str, *, hint: str = "") -> ConfigInvalid:
        """The error to raise for what stands at `keys`."""
        return ConfigInvalid(f"{self.where(*keys)}: {problem}", hint=hint)

    def unknown_key(self, keys: KeyPath, known: list[str]) -> ConfigInvalid:
        """The error to raise for a key that nobody reads, with the nearest one that is read."""
        near = get_close_matches(keys[-1].lower(), known, n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Known here: {', '.join(sorted(known))}."
        return self.error(keys, f"the key {'.'.join(keys)!r} is unknown.", hint=hint)

    def table(self, name: str) -> Mapping[str, object]:
        """A top-level table; empty where the file has none. Raises: ConfigInvalid."""
        value = self.values.get(name, {})
        if not isinstance(value, dict):
            raise self.error((name,), f"{name!r} must be a table: write [{name}].")
        return value


def read_toml(path: Path) -> TomlFile:
    """Read and parse a file of at most 4 MiB.

    Raises: ConfigInvalid, which names the file, and the line where the text is not TOML.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigInvalid(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigInvalid(f"{path} is larger than {MAX_FILE_BYTES} bytes.")
    try:
        text = content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigInvalid(f"{path} line {line}: this is not UTF-8 text.") from error
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigInvalid(_syntax_error(path, text, str(error))) from error
    except RecursionError as error:
        raise ConfigInvalid(f"{path}: values are nested too deeply.") from error
    return TomlFile(path, values, key_lines(text))


def _syntax_error(path: Path, text: str, message: str) -> str:
    found = re.search(r"^(.*?) \(at (?:line (\d+), column (\d+)|end of document)\)$", message, re.S)
    if found is None:
        return f"{path}: {message}."
    line, column = found[2] or text.count("\n") + 1, found[3]
    return f"{path} line {line}: {found[1]}" + (f" (column {column})." if column else ".")


_TOKEN = re.compile(
    r"""
      (?P<skip>\#[^\n]* | [ \t\r]+)
    | (?P<long>\"{3} (?:\\.|(?!\"{3}).)* \"{3,5} | '{3} (?:(?!'{3}).)* '{3,5})
    | (?P<string>"(?:\\.|[^"\\\n])*" | '[^'\n]*')
    | (?P<mark>[\[\]{}=,.\n])
    | (?P<bare>[^\s\[\]{}=,."'\#]+)
    """,
    re.VERBOSE | re.DOTALL,
)


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line on which each key path of a valid TOML text first appears.

    Elements of arrays have no paths of their own: what is written inside an array counts under
    the array's key. Table headers count as keys too. The text must have passed `tomllib`.
    """
    lines: dict[KeyPath, int] = {}
    # What surrounds the current token, outermost first: the key path under which keys lie, and
    # the bracket that closes it. Only inside an array are there values without keys.
    around: list[tuple[KeyPath, str]] = [((), "\n")]
    key: KeyPath = ()
    reading_key = True
    in_header = False
    for kind, token, line in _tokens(text):
        prefix, closing = around[-1]
        if reading_key and kind != "mark":
            key = (*key, _unquoted(token))
            if not in_header:
                _note(lines, prefix + key, line)
        elif reading_key and token == "[" and closing == "\n":
            in_header, key = True, ()
        elif token == "\n" and closing == "\n":
            if in_header:
                _note(lines, key, line)
                around = [(key, "\n")]
            reading_key, in_header, key = True, False, ()
        elif token == "=" and reading_key:
            reading_key = False
        elif in_header or kind != "mark":
            continue
        elif token in "[{" and not reading_key:
            around.append((prefix + key, "]" if token == "[" else "}"))
            reading_key, key = token == "{", ()
        elif token == closing:
            around.pop()
            reading_key = False
            key = prefix[len(around[-1][0]) :]
        elif token == "," and closing == "}":
            reading_key, key = True, ()
    return lines


def _note(lines: dict[KeyPath, int], keys: KeyPath, line: int) -> None:
    for length in range(1, len(keys) + 1):
        lines.setdefault(keys[:length], line)


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    line = 1
    for match in _TOKEN.finditer(text + "\n"):
        kind = match.lastgroup or ""
        if kind != "skip":
            yield kind, match[0], line
        line += match[0].count("\n")


def _unquoted(token: str) -> str:
    if token[0] not in "\"'":
        return token
    value = tomllib.loads(f"key = {token}")["key"]
    assert isinstance(value, str)
    return value
