"""The assistants of editors: what each of them has to be told. Values only."""

from __future__ import annotations

from typing import Final

from localserve.connect.blocks import BLOCK
from localserve.connect.client import (
    AGENT_CONTEXT_TOKENS,
    JSON,
    LUA,
    TOML,
    VIM,
    YAML,
    Client,
    ConfigFile,
    quoted,
)
from localserve.connect.merging import Default
from localserve.connect.places import Folder
from localserve.connect.served import Served, ServedModel

CODE_USER: Final = Folder(
    linux=("{config}/Code/User", "{config}/Code - Insiders/User", "{config}/VSCodium/User"),
    mac=(
        "{home}/Library/Application Support/Code/User",
        "{home}/Library/Application Support/Code - Insiders/User",
        "{home}/Library/Application Support/VSCodium/User",
    ),
    windows=(
        "{appdata}/Code/User",
        "{appdata}/Code - Insiders/User",
        "{appdata}/VSCodium/User",
    ),
)

CONTINUE_ROLES: Final = {
    "completion": ("chat", "edit", "apply"),
    "insert": ("autocomplete",),
    "embedding": ("embed",),
    "rerank": ("rerank",),
}


def _continue(served: Served) -> object:
    return {
        "name": Default("localserve"),
        "version": Default("1.0.0"),
        "schema": Default("v1"),
        "models": [_continue_model(served, model) for model in served.models],
    }


def _continue_model(served: Served, model: ServedModel) -> dict[str, object]:
    entry: dict[str, object] = {
        "name": f"localserve {model.name}",
        "provider": "openai",
        "model": model.name,
        "apiBase": served.v1,
        "apiKey": served.key,
        "roles": [role for can in model.capabilities for role in CONTINUE_ROLES.get(can, ())],
    }
    if "completion" in model.capabilities:
        entry["capabilities"] = ["tool_use"]
        entry["defaultCompletionOptions"] = {
            "contextLength": model.context_tokens,
            "maxTokens": model.output_tokens,
        }
    return entry


CONTINUE_FOLDER: Final = Folder(("{home}/.continue",), variable="CONTINUE_GLOBAL_DIR")

CONTINUE: Final = Client(
    "continue",
    "Continue (VS Code, JetBrains, cn)",
    routes=("/v1/chat/completions",),
    files=(ConfigFile(CONTINUE_FOLDER, "config.yaml", YAML, _continue),),
    programs=("cn",),
    folders=(CONTINUE_FOLDER,),
    extensions=("continue.continue",),
)

CLINE_PROVIDER: Final = "openai-compatible"


def _cline(served: Served) -> object:
    settings = {
        "provider": CLINE_PROVIDER,
        "apiKey": served.key,
        "model": served.main.name,
        "baseUrl": served.v1,
        "contextWindow": served.main.context_tokens,
        "maxTokens": served.main.output_tokens,
    }
    entry = {"settings": settings, "tokenSource": "manual", "updatedAt": Default(CHANGED_AT)}
    return {
        "version": Default(1),
        "lastUsedProvider": CLINE_PROVIDER,
        "providers": {CLINE_PROVIDER: entry},
    }


CHANGED_AT: Final = "2026-01-01T00:00:00.000Z"
"""Cline wants the time of the last change in each entry."""

CLINE_FOLDER: Final = Folder(("{home}/.cline",))

CLINE: Final = Client(
    "cline",
    "Cline (command line, VS Code)",
    routes=("/v1/chat/completions",),
    least_context_tokens=AGENT_CONTEXT_TOKENS,
    files=(ConfigFile(Folder(("{home}/.cline/data/settings",)), "providers.json", JSON, _cline),),
    programs=("cline",),
    folders=(CLINE_FOLDER,),
    extensions=("saoudrizwan.claude-dev",),
    steps=(
        "cline",
        "An older Cline in VS Code has settings of its own: API Provider 'OpenAI Compatible', Base"
        " URL {v1}, API Key {key}, Model ID {model}, Context Window Size {context}.",
    ),
)

ROO: Final = Client(
    "roo",
    "Roo Code (VS Code)",
    routes=("/v1/chat/completions",),
    least_context_tokens=AGENT_CONTEXT_TOKENS,
    extensions=("rooveterinaryinc.roo-cline",),
    steps=(
        "In the settings of Roo Code > Providers choose the API Provider 'OpenAI Compatible'.",
        "Base URL: {v1}",
        "API Key: {key}",
        "Model: {model}",
        "Model Configuration > Context Window Size: {context}; Max Output Tokens: {output}",
    ),
)

ZED_PROVIDER: Final = "localserve-zed"
"""Zed reads the key from a variable of this name; one called LOCALSERVE_API_KEY would make servers
that are started with it ask for that key."""


def _zed(served: Served) -> object:
    models = [
        {
            "name": model.name,
            "max_tokens": model.context_tokens,
            "max_output_tokens": model.output_tokens,
            "capabilities": {
                "tools": True,
                "images": False,
                "parallel_tool_calls": False,
                "prompt_cache_key": True,
            },
        }
        for model in served.chat
    ]
    provider = {"api_url": served.v1, "available_models": models}
    return {
        "language_models": {"openai_compatible": {ZED_PROVIDER: provider}},
        "agent": {"default_model": {"provider": ZED_PROVIDER, "model": served.main.name}},
    }


ZED_FOLDER: Final = Folder(
    ("{config}/zed",), mac=("{home}/.config/zed",), windows=("{appdata}/Zed",)
)

ZED: Final = Client(
    "zed",
    "Zed",
    routes=("/v1/chat/completions",),
    files=(ConfigFile(ZED_FOLDER, "settings.json", JSON, _zed),),
    programs=("zed", "zeditor"),
    folders=(ZED_FOLDER,),
    environment={"LOCALSERVE_ZED_API_KEY": "{key}"},
    steps=(
        "Start Zed with this variable, or enter the key in its settings of language models: it"
        " insists on one.",
    ),
)


def _copilot(served: Served) -> object:
    models = [
        {
            "id": model.name,
            "name": model.name,
            "url": f"{served.v1}/chat/completions",
            "toolCalling": True,
            "vision": False,
            "maxInputTokens": model.input_tokens,
            "maxOutputTokens": model.output_tokens,
        }
        for model in served.chat
    ]
    return [
        {
            "name": "localserve",
            "vendor": "customendpoint",
            "apiKey": served.key,
            "apiType": "chat-completions",
            "models": models,
        }
    ]


COPILOT: Final = Client(
    "copilot",
    "GitHub Copilot Chat (VS Code 1.122 or later)",
    routes=("/v1/chat/completions",),
    files=(ConfigFile(CODE_USER, "chatLanguageModels.json", JSON, _copilot),),
    extensions=("github.copilot-chat",),
    steps=("Choose {model} in the list of models of the chat ('Other Models' has all).",),
)


def _llama_vscode(served: Served) -> object:
    settings = {"endpoint_chat": served.url, "endpoint_tools": served.url}
    if served.first("insert") is not None:
        settings["endpoint"] = served.url
    if served.first("embedding") is not None:
        settings["endpoint_embeddings"] = served.url
    if served.has_key:
        settings |= {"api_key": served.key, "api_key_chat": served.key}
    return {f"llama-vscode.{name}": value for name, value in settings.items()}


LLAMA_VSCODE: Final = Client(
    "llama-vscode",
    "llama.vscode (VS Code)",
    routes=("/infill", "/v1/chat/completions"),
    files=(ConfigFile(CODE_USER, "settings.json", JSON, _llama_vscode),),
    extensions=("ggml-org.llama-vscode",),
)


def _llama_settings(served: Served) -> dict[str, str]:
    settings = {
        "endpoint_fim": f"{served.url}/infill",
        "endpoint_inst": f"{served.v1}/chat/completions",
        "model_fim": (served.first("insert") or served.main).name,
        "model_inst": served.main.name,
    }
    return settings | ({"api_key": served.key} if served.has_key else {})


def _llama_vimscript(served: Served) -> object:
    entries = [
        f"    \\ {quoted(key)}: {quoted(value)}," for key, value in _llama_settings(served).items()
    ]
    return {BLOCK: "\n".join(["let g:llama_config = {", *entries, "    \\ }"])}


def _llama_lua(served: Served) -> object:
    entries = [f"  {key} = {quoted(value)}," for key, value in _llama_settings(served).items()]
    return {BLOCK: "\n".join(["vim.g.llama_config = {", *entries, "}"])}


NEOVIM_FOLDER: Final = Folder(
    ("{config}/nvim",), mac=("{home}/.config/nvim",), windows=("{localappdata}/nvim",)
)
HOME_FOLDER: Final = Folder(("{home}",))

LLAMA_VIM: Final = Client(
    "llama-vim",
    "llama.vim (Vim, Neovim)",
    routes=("/infill", "/v1/chat/completions"),
    either=(
        ConfigFile(NEOVIM_FOLDER, "init.lua", LUA, _llama_lua),
        ConfigFile(NEOVIM_FOLDER, "init.vim", VIM, _llama_vimscript),
        ConfigFile(HOME_FOLDER, ".vimrc", VIM, _llama_vimscript),
    ),
    programs=("vim", "nvim"),
    steps=("The plugin itself comes with your plugin manager: 'ggml-org/llama.vim'.",),
)


def _tabby(served: Served) -> object:
    def http(kind: str, model: ServedModel) -> dict[str, object]:
        entry = {"kind": kind, "model_name": model.name, "api_endpoint": served.v1}
        return {"http": {**entry, "api_key": served.key}}

    parts = {
        "completion": ("openai/completion", served.first("insert")),
        "chat": ("openai/chat", served.first("completion")),
        "embedding": ("openai/embedding", served.first("embedding")),
    }
    return {"model": {part: http(kind, one) for part, (kind, one) in parts.items() if one}}


TABBY_FOLDER: Final = Folder(("{home}/.tabby",), variable="TABBY_ROOT")

TABBY: Final = Client(
    "tabby",
    "Tabby (the server)",
    routes=("/v1/completions", "/v1/chat/completions"),
    files=(ConfigFile(TABBY_FOLDER, "config.toml", TOML, _tabby),),
    programs=("tabby",),
    folders=(TABBY_FOLDER,),
    steps=("Start it without a model of its own: tabby serve",),
)

JETBRAINS: Final = Client(
    "jetbrains",
    "JetBrains AI Assistant",
    routes=("/v1/chat/completions",),
    folders=(
        Folder(
            ("{config}/JetBrains",),
            mac=("{home}/Library/Application Support/JetBrains",),
            windows=("{appdata}/JetBrains",),
        ),
    ),
    steps=(
        "Settings > Tools > AI Assistant > Providers & API keys > OpenAI-compatible",
        "URL: {v1}",
        "API key: {key}",
        "Check 'Tool calling', then Test Connection, and choose {model} for the features.",
        "Context window: {context}",
    ),
)

EDITORS: Final = (
    CONTINUE,
    CLINE,
    ROO,
    ZED,
    COPILOT,
    LLAMA_VSCODE,
    LLAMA_VIM,
    TABBY,
    JETBRAINS,
)
