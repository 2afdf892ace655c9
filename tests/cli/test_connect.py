"""`localserve connect`: what is listed, shown, written and undone, and what it asks the server."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localserve.config import Settings
from localserve.connect.clients import CLIENTS
from tests.cli.conftest import Run
from tests.cli.fake_server import FakeServer, announced_fake

CHAT: dict[str, Any] = {
    "id": "chat",
    "state": "loaded",
    "context_tokens": 32_768,
    "capabilities": ["completion"],
}
UNLOADED = {**CHAT, "id": "other", "state": "unloaded", "context_tokens": None}
ROUTES = ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/completions")


@pytest.fixture
def fake(settings: Settings) -> Iterator[FakeServer]:
    with announced_fake(settings, {"default": "chat", "models": [CHAT, UNLOADED]}) as server:
        for route in ROUTES:
            server.answers[route] = (405, {"detail": "POST it."})
        server.answers["/admin/models/chat/load"] = (200, CHAT)
        yield server


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder."""
    for variable in ("XDG_CONFIG_HOME", "CODEX_HOME", "CONTINUE_GLOBAL_DIR", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr("sys.platform", "linux")
    return tmp_path / "user"


def test_alone_it_lists_all_clients_and_needs_no_server(run: Run, user: Path) -> None:
    (user / ".codex").mkdir(parents=True)
    ran = run("connect")
    assert ran.status == 0
    lines = {line.split()[0]: line for line in ran.out.splitlines()}
    assert {client.name for client in CLIENTS} <= lines.keys()
    assert "yes" in lines["codex"]
    assert "~/.codex/config.toml" in lines["codex"]
    assert "yes" not in lines["zed"]
    assert "by hand" in lines["jetbrains"]
    assert "variables" in lines["open-webui"]
    (codex,) = [
        one for one in json.loads(run("connect", "--json").out)["clients"] if one["name"] == "codex"
    ]
    assert (codex["installed"], codex["written"]) == (True, False)


def test_without_a_server_nothing_can_be_connected(run: Run, user: Path) -> None:
    ran = run("connect", "opencode")
    assert ran.status == 1
    assert "localserve up" in ran.err


def test_the_snippet_alone_is_on_stdout(run: Run, user: Path, fake: FakeServer) -> None:
    ran = run("connect", "opencode")
    assert ran.status == 0
    document = json.loads(ran.out)
    assert document["model"] == "localserve/chat"
    assert document["provider"]["localserve"]["options"]["baseURL"] == f"{fake.url}/v1"
    assert "other" not in ran.out
    assert "~/.config/opencode/opencode.json (a new file)" in ran.err
    assert "32768 tokens" in ran.err
    assert not (user / ".config").exists()


def test_variables_can_be_evaluated_by_a_shell(run: Run, user: Path, fake: FakeServer) -> None:
    lines = run("connect", "env").out.splitlines()
    words = [shlex.split(line) for line in lines]
    assert all(word[0] == "export" for word in words)
    variables = dict(word[1].split("=", 1) for word in words)
    assert variables["OPENAI_BASE_URL"] == f"{fake.url}/v1"
    assert variables["OPENAI_MODEL"] == "chat"


def test_what_is_done_by_hand_is_told(run: Run, user: Path, fake: FakeServer) -> None:
    ran = run("connect", "jetbrains")
    assert (ran.status, ran.out) == (0, "")
    assert f"{fake.url}/v1" in ran.err
    refused = run("connect", "jetbrains", "--write")
    assert refused.status == 1
    assert "no file to write" in refused.err
    assert "localserve connect jetbrains" in refused.err


def test_written_entries_are_told_and_undone(run: Run, user: Path, fake: FakeServer) -> None:
    file = user / ".codex" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("# mine\n")
    ran = run("connect", "codex", "--write")
    assert ran.status == 0
    assert "wrote ~/.codex/config.toml" in ran.out
    assert "config.toml.before-localserve" in ran.out
    assert "localserve connect codex --undo" in ran.err
    assert fake.url in file.read_text()
    listed = json.loads(run("connect", "--json").out)["clients"]
    assert [one["name"] for one in listed if one["written"]] == ["codex"]
    assert run("connect", "codex", "--undo").out == "~/.codex/config.toml is as it was\n"
    assert file.read_text() == "# mine\n"
    again = run("connect", "codex", "--undo")
    assert again.status == 1
    assert "nothing to undo" in again.err


def test_json_tells_what_was_written_and_undone(run: Run, user: Path, fake: FakeServer) -> None:
    shown = json.loads(run("connect", "codex", "--json").out)
    assert shown["models"] == [
        {"id": "chat", "context_tokens": 32_768, "capabilities": ["completion"]}
    ]
    assert 'model = "chat"' in shown["files"][0]["snippet"]
    assert shown["files"][0]["exists"] is False
    written = json.loads(run("connect", "codex", "--write", "--json").out)
    path = str(user / ".codex" / "config.toml")
    assert written["files"] == [{"path": path, "backup": None}]
    undone = json.loads(run("connect", "codex", "--undo", "--json").out)
    assert undone["files"] == [{"path": path, "done": "removed"}]


def test_a_server_with_keys_wants_one_for_the_client(
    run: Run, user: Path, fake: FakeServer
) -> None:
    fake.answers["/v1/models"] = (401, {"detail": "A key is needed."})
    refused = run("connect", "aider", "--write")
    assert refused.status == 1
    assert "localserve keys create" in refused.err
    assert run("connect", "aider", "--write", "--api-key", "ls-abc").status == 0
    assert "ls-abc" in (user / ".aider.conf.yml").read_text()


def test_one_model_is_loaded_and_named_alone(run: Run, user: Path, fake: FakeServer) -> None:
    other = {**UNLOADED, "state": "loaded", "context_tokens": 20_000}
    fake.document = {"default": "chat", "models": [CHAT, other]}
    fake.answers["/admin/models/alias/load"] = (200, other)
    document = json.loads(run("connect", "opencode", "--model", "alias").out)
    assert list(document["provider"]["localserve"]["models"]) == ["other"]
    assert document["model"] == "localserve/other"


def test_where_nothing_is_loaded_the_default_is(run: Run, user: Path, fake: FakeServer) -> None:
    fake.document = {"default": "chat", "models": [UNLOADED]}
    ran = run("connect", "opencode")
    assert ("/admin/models/chat/load", {}) in fake.requests
    assert "writes text" in ran.err  # the fake one has loaded nothing


def test_what_does_not_suit_the_client_is_a_warning(run: Run, user: Path, fake: FakeServer) -> None:
    fake.document = {"default": "chat", "models": [{**CHAT, "context_tokens": 8192}]}
    fake.answers["/v1/messages"] = (404, {"detail": "There is no such route."})
    ran = run("connect", "claude-code")
    assert ran.status == 0
    assert "does not answer /v1/messages" in ran.err
    assert "8192 tokens of context" in ran.err
    assert "--ctx 32768" in ran.err


@pytest.mark.parametrize(
    "arguments", [("--write",), ("--undo",), ("zed", "--write", "--undo"), ("zed", "--nothing")]
)
def test_contradictions_are_wrong_usage(run: Run, user: Path, arguments: tuple[str, ...]) -> None:
    assert run("connect", *arguments).status == 2


def test_an_unknown_client_is_refused_with_those_there_are(run: Run, user: Path) -> None:
    ran = run("connect", "contine")
    assert ran.status == 2
    assert "'continue'" in ran.err
    assert "localserve connect env" in ran.err
