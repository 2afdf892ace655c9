"""TOML and YAML keep what is not ours: comments, order, layout."""

from __future__ import annotations

import pytest

from localserve.connect.documents import parse_toml, parse_yaml, rewrite_toml, rewrite_yaml
from localserve.connect.jsonc import Malformed
from localserve.connect.merging import merge

TOML = """\
# my settings
approval = "never" # always

[model_providers.other] # another one
name = "other"
base_url = 'http://x'

[tools]
list = [
    1, # one
    2,
]
"""

YAML = """\
# my models
name: "mine"   # quoted
models:
    # the first
    - name: theirs
      model: 'x'   # single quotes
      roles: [chat, edit]
    -   name: localserve a
        model: a

anchors: &common
    a: 1
use: *common
"""


def merged(text: str, entries: object, parse: object) -> object:
    assert callable(parse)
    return merge(parse(text), entries)


def test_toml_gets_tables_and_keys_and_keeps_comments() -> None:
    entries = {
        "model": "m",
        "approval": "never",
        "model_providers": {"localserve": {"base_url": "http://y", "timeout": 5}},
    }
    wanted = merged(TOML, entries, parse_toml)
    text = rewrite_toml(TOML, wanted)
    assert parse_toml(text) == wanted
    for line in TOML.splitlines():
        assert line in text.splitlines()
    assert text.index('model = "m"') < text.index("[model_providers")
    assert "[model_providers.localserve]\n" in text


def test_toml_loses_what_is_taken_out_and_nothing_else() -> None:
    entries = {"model": "m", "model_providers": {"localserve": {"base_url": "http://y"}}}
    with_ours = rewrite_toml(TOML, merged(TOML, entries, parse_toml))
    without = rewrite_toml(with_ours, parse_toml(TOML))
    assert parse_toml(without) == parse_toml(TOML)
    for line in TOML.splitlines():
        assert line in without.splitlines()


def test_a_new_toml_file_has_no_empty_tables() -> None:
    text = rewrite_toml("", {"model": "m", "model_providers": {"localserve": {"name": "x"}}})
    assert text == 'model = "m"\n\n[model_providers.localserve]\nname = "x"\n'


def test_yaml_gets_items_and_keeps_comments_quotes_and_layout() -> None:
    entries = {"models": [{"name": "localserve a", "model": "b"}, {"name": "localserve c"}]}
    wanted = merged(YAML, entries, parse_yaml)
    text = rewrite_yaml(YAML, wanted)
    assert parse_yaml(text) == wanted
    for kept in ("# my models", '"mine"   # quoted', "    # the first", "'x'   # single quotes"):
        assert kept in text
    assert "roles: [chat, edit]" in text
    assert "&common" in text
    assert "*common" in text
    assert "    - name: theirs" in text


def test_yaml_loses_what_is_taken_out() -> None:
    wanted = parse_yaml(YAML)
    assert isinstance(wanted, dict)
    wanted["models"] = wanted["models"][:1]
    text = rewrite_yaml(YAML, wanted)
    assert parse_yaml(text) == wanted
    assert "localserve a" not in text
    assert "# the first" in text


def test_yaml_that_is_empty_or_only_comments_is_begun() -> None:
    entries = {"name": "x", "models": [{"name": "a", "roles": ["chat"]}]}
    for text in ("", "# nothing yet\n", "# no line end"):
        new = rewrite_yaml(text, entries)
        assert new.startswith(text)
        assert parse_yaml(new) == entries
    assert parse_yaml("") == {}


def test_numbers_as_keys_stay_numbers() -> None:
    text = "1: one\n2: two\n"
    wanted = merge(parse_yaml(text), {"a": "b"})
    assert rewrite_yaml(text, wanted) == "1: one\n2: two\na: b\n"


@pytest.mark.parametrize("text", ["a: [", "a: 1\na: 2\n", "%", "a: 1\n---\nb: 2\n", "a: !!x\n\t"])
def test_malformed_yaml_is_refused(text: str) -> None:
    with pytest.raises(Malformed):
        parse_yaml(text)


def test_malformed_toml_is_refused_with_its_line() -> None:
    with pytest.raises(Malformed, match="line 2"):
        parse_toml("a = 1\nb = \n")
