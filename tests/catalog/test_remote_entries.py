"""Entries of models.toml that lie with other servers."""

from __future__ import annotations

from pathlib import Path

import pytest

from localserve.catalog.candidates import find_candidates
from localserve.catalog.locate import find_model
from localserve.catalog.registry import Registry, read_registry
from localserve.catalog.spec import RemoteEngine, Replica
from localserve.catalog.wanted import parse_wanted
from localserve.config import read_settings
from localserve.errors import ConfigInvalid, ModelUnusable


def read(tmp_path: Path, text: str) -> Registry:
    path = tmp_path / "models.toml"
    path.write_text(text)
    return read_registry(path)


def test_one_server_is_given_by_its_address(tmp_path: Path) -> None:
    registry = read(
        tmp_path,
        """
[models.big]
engine = "openai"
base_url = "https://host:8000/v1/"
key_env = "BIG_KEY"
context = 4096
aliases = ["large"]
""",
    )
    spec = registry.find("LARGE")
    assert spec is not None
    assert spec.source == RemoteEngine("big", (Replica("https://host:8000/v1", "BIG_KEY"),))
    assert spec.context_tokens == 4096


def test_several_servers_share_what_is_said_of_all(tmp_path: Path) -> None:
    registry = read(
        tmp_path,
        """
[models.big]
engine = "openai"
model = "owner/name"
key_env = "ALL"
timeouts = { first_token = 9.0 }
[models.big.replicas]
a = { base_url = "http://a/v1", weight = 2.0 }
b = { base_url = "http://b/v1", key_env = "B" }
""",
    )
    spec = registry.find("big")
    assert spec is not None
    assert spec.source == RemoteEngine(
        "owner/name",
        (Replica("http://a/v1", "ALL", 2.0), Replica("http://b/v1", "B")),
        first_token_seconds=9.0,
    )


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("engine = 'openai'", 2, "needs either 'base_url' or a table 'replicas'"),
        ("engine = 'vllm'", 2, "engine is 'vllm'"),
        ("engine = 'openai'\nbase_url = 'host:80'", 3, "is no address of an engine"),
        ("engine = 'openai'\nbase_url = 'http://h/v1?key=x'", 3, "is no address"),
        ("engine = 'openai'\nbase_url = 'http://me:pw@h/v1'", 3, "is no address"),
        ("engine = 'openai'\nbase_url = 'http://h:99999/'", 3, "is no address"),
        ("engine = 'openai'\nfile = 'a.gguf'", 2, "neither 'file' nor 'repo'"),
        ("file = 'a.gguf'\nbase_url = 'http://h'", 3, "needs engine = "),
        ("engine = 'openai'\nbase_url = 'http://h'\nkey_env = 'a b'", 4, "key_env is 'a b'"),
        (
            "engine = 'openai'\nreplicas = { a = { base_url = 'http://h', wait = 1 } }",
            3,
            "'models.m.replicas.a.wait'",
        ),
        (
            "engine = 'openai'\nbase_url = 'http://h'\ntimeouts = { conect = 1 }",
            4,
            "'models.m.timeouts.conect'",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(
    tmp_path: Path, text: str, line: int, problem: str
) -> None:
    (tmp_path / "a.gguf").write_bytes(b"GGUF")
    with pytest.raises(ConfigInvalid) as caught:
        read(tmp_path, f"[models.m]\n{text}\n")
    assert f"line {line}:" in caught.value.message
    assert problem in caught.value.message


def test_it_is_found_by_name_and_has_no_files(tmp_path: Path) -> None:
    registry = read(tmp_path, "[models.m]\nengine = 'openai'\nbase_url = 'http://h/v1'\n")
    settings = read_settings(environ={"LOCALSERVE_HOME": str(tmp_path)})
    assert find_model("m", registry, settings) == registry.find("m")
    with pytest.raises(ModelUnusable, match="another machine"):
        parse_wanted("m", registry, settings)
    with pytest.raises(ModelUnusable, match="another machine"):
        find_candidates("m", registry, settings)
