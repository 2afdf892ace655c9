"""Where keys stand in a TOML file, and errors that say so."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.errors import ConfigInvalid
from localserve.toml import MAX_FILE_BYTES, key_lines, read_toml

DOCUMENT = '''\
# a comment with [brackets] = and "quotes"
top = 1
[settings]   # another
port = 8080
"quoted key" = "a # no comment"
host.name = "dotted"

[models."qwen3.8b"]
aliases = [
  "one",  # [not.a.table]
  "two",
]
template = """
[models.fake]
port = 1
\\""" still inside"""
raw = \'\'\'
[models.fake2]
\'\'\'
sampling = { temperature = 0.6, nested = { top_p = 0.9 }, list = [{ deep = 1 }] }
after = 1.5

[models."qwen3.8b".shape]
layers = 28
[ models . 'other' ]
repo = "x"
'''


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (("top",), 2),
        (("settings",), 3),
        (("settings", "port"), 4),
        (("settings", "quoted key"), 5),
        (("settings", "host", "name"), 6),
        (("models",), 8),
        (("models", "qwen3.8b"), 8),
        (("models", "qwen3.8b", "aliases"), 9),
        (("models", "qwen3.8b", "template"), 13),
        (("models", "qwen3.8b", "raw"), 17),
        (("models", "qwen3.8b", "sampling"), 20),
        (("models", "qwen3.8b", "sampling", "nested", "top_p"), 20),
        (("models", "qwen3.8b", "sampling", "list", "deep"), 20),
        (("models", "qwen3.8b", "after"), 21),
        (("models", "qwen3.8b", "shape"), 23),
        (("models", "qwen3.8b", "shape", "layers"), 24),
        (("models", "other"), 25),
        (("models", "other", "repo"), 26),
    ],
)
def test_every_key_has_the_line_it_is_written_on(keys: tuple[str, ...], line: int) -> None:
    assert key_lines(DOCUMENT)[keys] == line


def test_text_inside_strings_and_comments_is_no_key() -> None:
    found = key_lines(DOCUMENT)
    tomllib.loads(DOCUMENT)
    assert not any("fake" in part or "not" in part for keys in found for part in keys)


_keys = st.text(min_size=1, max_size=8).filter(lambda key: key.isprintable())
_values = st.recursive(
    st.integers(-9, 9) | st.booleans() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=6,
)


def _quoted(text: str) -> str:
    escaped = (c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08X}" for c in text)
    return f'"{"".join(escaped)}"'


def _written(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str() if len(value) % 2 and "\\" not in value and value.isprintable():
            return f"'''\n{value.replace(chr(39), '')}\n'''"
        case str():
            return _quoted(value)
        case list():
            return "[\n" + ",  # ]\n".join(map(_written, value)) + "\n]"
        case dict():
            return "{" + ", ".join(f"{_quoted(k)} = {_written(v)}" for k, v in value.items()) + "}"
        case _:
            return str(value)


@given(
    st.lists(
        st.tuples(_keys, st.dictionaries(_keys, _values, max_size=4)), unique_by=lambda t: t[0]
    )
)
def test_any_document_written_key_by_key_gives_each_key_its_own_line(
    tables: list[tuple[str, dict[str, object]]],
) -> None:
    text = ""
    expected: dict[tuple[str, ...], int] = {}
    for name, table in tables:
        expected[(name,)] = text.count("\n") + 1
        text += f"[{_quoted(name)}] # =\n"
        for key, value in table.items():
            expected[(name, key)] = text.count("\n") + 1
            text += f"{_quoted(key)} = {_written(value)}\n"
    tomllib.loads(text)
    found = key_lines(text)
    assert {keys: found.get(keys) for keys in expected} == expected


def test_a_key_without_a_line_of_its_own_has_that_of_its_table(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xef\xbb\xbf\r\n[settings]\r\nport = 1\r\n")
    document = read_toml(path)
    assert document.line("settings", "missing", "deeper") == 2
    assert document.line("settings", "port") == 3
    assert document.line("nothing") == 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a = 1\nb = \n", "line 2"),
        (b"a = 1\na = 2\n", "line 2"),
        (b"a = 1\nb = [1,\n\n", "line 4"),
        (b"a = 1\nb = '\xff'\n", "line 2: this is not UTF-8"),
        (b"a = " + b"[" * 5000 + b"]" * 5000, "nested too deeply"),
        (b"#" * (MAX_FILE_BYTES + 1), "larger than"),
    ],
)
def test_a_file_that_is_not_toml_is_refused_with_its_line(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(ConfigInvalid) as caught:
        read_toml(path)
    assert str(path) in caught.value.message
    assert words in caught.value.message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"none\.toml cannot be read: No such file"):
        read_toml(tmp_path / "none.toml")


def test_a_value_where_a_table_belongs_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("\nsettings = 3\n")
    with pytest.raises(ConfigInvalid, match=r"line 2: 'settings' must be a table"):
        read_toml(path).table("settings")
