"""What each client is told; whatever it is, it can be merged, read again and undone."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import pytest

from localserve.connect.client import Client, ConfigFile
from localserve.connect.clients import CLIENTS, UnknownClient, find_client
from localserve.connect.documents import parse_yaml
from localserve.connect.files import Memory, plan_write, undo, write
from localserve.connect.places import Surroundings
from localserve.connect.served import NothingToConnect, Served, parse_models
from tests.connect.conftest import CHAT, EMBEDDER

FILES = [(client, file) for client in CLIENTS for file in (*client.files, *client.either)]
"""Every file of every client."""


def each_file(*, but: Collection[tuple[str, str]] = ()) -> pytest.MarkDecorator:
    """Every file of every client, but those."""
    chosen = [(one, file) for one, file in FILES if (one.name, file.name) not in but]
    assert len(chosen) == len(FILES) - len(but)
    ids = [f"{one.name}-{file.name}" for one, file in chosen]
    return pytest.mark.parametrize(("client", "file"), chosen, ids=ids)


KEY_ELSEWHERE = (
    ("aider", ".aider.model.metadata.json"),
    ("goose", "config.yaml"),
    ("zed", "settings.json"),  # in a variable
)
NO_PLACE_FOR_THE_CONTEXT = (
    ("copilot", "chatLanguageModels.json"),  # as what goes in and what comes out
    ("llama-vscode", "settings.json"),
    ("llama-vim", "init.lua"),
    ("llama-vim", "init.vim"),
    ("llama-vim", ".vimrc"),
    ("aider", ".aider.conf.yml"),
    ("tabby", "config.toml"),
    ("goose", "config.yaml"),
)


each_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)


def test_all_that_are_promised_are_known() -> None:
    names = [client.name for client in CLIENTS]
    promised = "continue cline roo zed copilot llama-vscode llama-vim codex opencode goose"
    promised += " claude-code aider tabby crush jetbrains open-webui env"
    assert sorted(names) == sorted(promised.split())


def test_an_unknown_client_is_refused_with_the_nearest() -> None:
    with pytest.raises(UnknownClient, match="'opencode'"):
        find_client("open-code")
    assert find_client("Zed").name == "zed"


@each_client
def test_each_is_told_where_the_server_is_and_which_model_to_ask(
    client: Client, served: Served, account: Surroundings
) -> None:
    told = [file.snippet(served) for file in client.files_for(account)]
    told += client.variables(served).values()
    told += client.instructions(served)
    assert served.url in "\n".join(told)
    assert CHAT.name in "\n".join(told) or client.name in ("llama-vscode", "open-webui")


@each_file(but=KEY_ELSEWHERE)
def test_each_key_reaches_the_file(client: Client, file: ConfigFile, served: Served) -> None:
    assert "ls-secret" in file.snippet(replace(served, key="ls-secret"))


@each_file()
def test_each_snippet_is_what_an_empty_file_becomes_and_undo_removes_it(
    client: Client, file: ConfigFile, served: Served, account: Surroundings, tmp_path: Path
) -> None:
    only = replace(client, files=(file,), either=())
    memory = Memory(tmp_path / "memory", only)
    changes = plan_write(only, served, account, memory)
    write(changes, memory)
    path = file.path(account)
    assert path.read_text() == file.snippet(served)
    assert [one.how for one in undo(only, account, memory)] == ["removed"]
    assert not path.exists()


@each_file(but=NO_PLACE_FOR_THE_CONTEXT)
def test_each_is_told_the_true_context(client: Client, file: ConfigFile, served: Served) -> None:
    assert str(CHAT.context_tokens) in file.snippet(served)


def test_continue_gets_each_model_in_its_roles(served: Served, account: Surroundings) -> None:
    (file,) = find_client("continue").files_for(account)
    document = parse_yaml(file.snippet(served))
    assert isinstance(document, dict)
    assert {model["model"]: model["roles"] for model in document["models"]} == {
        CHAT.name: ["chat", "edit", "apply", "autocomplete"],
        EMBEDDER.name: ["embed"],
        "ranker": ["rerank"],
    }


def test_codex_speaks_responses_to_a_provider_of_its_own(
    served: Served, account: Surroundings
) -> None:
    (file,) = find_client("codex").files_for(account)
    document = tomllib.loads(file.snippet(served))
    provider = document["model_providers"][document["model_provider"]]
    assert (provider["wire_api"], provider["base_url"]) == ("responses", f"{served.url}/v1")
    assert document["model_context_window"] == CHAT.context_tokens


def test_copilot_leaves_room_for_the_answer(served: Served, account: Surroundings) -> None:
    (file,) = find_client("copilot").files_for(account)
    (provider,) = json.loads(file.snippet(served))
    (model,) = provider["models"]
    assert model["maxInputTokens"] + model["maxOutputTokens"] == CHAT.context_tokens


def test_zeds_variable_is_not_the_one_that_gives_servers_a_key(served: Served) -> None:
    assert "LOCALSERVE_API_KEY" not in find_client("zed").variables(served)


@each_client
def test_none_can_be_connected_to_a_server_that_writes_no_text(
    client: Client, served: Served
) -> None:
    with pytest.raises(NothingToConnect, match="writes text"):
        client.variables(replace(served, models=(EMBEDDER,)))


def test_of_several_files_the_one_that_exists_is_meant(account: Surroundings) -> None:
    client = find_client("llama-vim")
    assert [file.name for file in client.files_for(account)] == [".vimrc"]
    lua = account.home / ".config" / "nvim" / "init.lua"
    lua.parent.mkdir(parents=True)
    lua.touch()
    assert [file.path(account) for file in client.files_for(account)] == [lua]


def test_programs_folders_and_extensions_show_what_is_installed(account: Surroundings) -> None:
    def installed() -> set[str]:
        return {client.name for client in CLIENTS if client.installed(account)}

    assert installed() == set()
    program = account.home / "bin" / "aider"
    program.parent.mkdir()
    program.touch(mode=0o755)
    (account.home / ".codex").mkdir()
    (account.home / ".vscode" / "extensions" / "github.copilot-chat-0.30.1").mkdir(parents=True)
    assert installed() == {"aider", "codex", "copilot"}


def test_places_follow_the_system_and_the_variables_that_move_them(tmp_path: Path) -> None:
    def path_of(name: str, account: Surroundings) -> str:
        return str(find_client(name).files[-1].path(account).relative_to(tmp_path))

    mac = Surroundings("mac", tmp_path, {})
    assert path_of("copilot", mac) == (
        "Library/Application Support/Code/User/chatLanguageModels.json"
    )
    windows = Surroundings("windows", tmp_path, {"APPDATA": str(tmp_path / "Roaming")})
    assert path_of("goose", windows) == "Roaming/Block/goose/config/config.yaml"
    moved = {"CODEX_HOME": str(tmp_path / "c"), "XDG_CONFIG_HOME": str(tmp_path / "x")}
    linux = Surroundings("linux", tmp_path, moved)
    assert path_of("codex", linux) == "c/config.toml"
    assert path_of("opencode", linux) == "x/opencode/opencode.json"
    (tmp_path / "x" / "VSCodium" / "User").mkdir(parents=True)
    assert path_of("copilot", linux) == "x/VSCodium/User/chatLanguageModels.json"


def test_the_default_model_comes_first_and_only_loaded_ones_count() -> None:
    def model(name: str, state: str = "loaded") -> dict[str, object]:
        return {"id": name, "state": state, "context_tokens": 64, "capabilities": ["completion"]}

    models = [model("a"), model("b"), model("c", "unloaded")]
    document = {"default": "b", "models": models}
    assert [one.name for one in parse_models(document)] == ["b", "a"]
    assert [one.name for one in parse_models(document, "a")] == ["a"]
