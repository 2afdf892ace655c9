"""Agents on a terminal, chat pages and plain programs: what each of them has to be told. Values
only."""

from __future__ import annotations

from typing import Final

from localserve.connect.client import AGENT_CONTEXT_TOKENS, JSON, TOML, YAML, Client, ConfigFile
from localserve.connect.merging import Default
from localserve.connect.places import Folder
from localserve.connect.served import Served

PROVIDER: Final = "localserve"

LONG_SECONDS: Final = 3600
"""How long a client should wait for a long prompt."""


def _codex(served: Served) -> object:
    provider: dict[str, object] = {
        "name": PROVIDER,
        "base_url": served.v1,
        "wire_api": "responses",
        "stream_idle_timeout_ms": LONG_SECONDS * 1000,
    }
    if served.has_key:
        provider["http_headers"] = {"Authorization": f"Bearer {served.key}"}
    return {
        "model": served.main.name,
        "model_provider": PROVIDER,
        "model_context_window": served.main.context_tokens,
        "web_search": "disabled",
        "model_providers": {PROVIDER: provider},
    }


CODEX_FOLDER: Final = Folder(("{home}/.codex",), variable="CODEX_HOME")

CODEX: Final = Client(
    "codex",
    "Codex CLI",
    routes=("/v1/responses",),
    least_context_tokens=AGENT_CONTEXT_TOKENS,
    files=(ConfigFile(CODEX_FOLDER, "config.toml", TOML, _codex),),
    programs=("codex",),
    folders=(CODEX_FOLDER,),
    steps=("codex",),
)


def _opencode(served: Served) -> object:
    models = {
        model.name: {
            "name": model.name,
            "limit": {"context": model.context_tokens, "output": model.output_tokens},
        }
        for model in served.chat
    }
    options = {
        "baseURL": served.v1,
        "apiKey": served.key,
        "headerTimeout": False,
        "chunkTimeout": LONG_SECONDS * 1000,
    }
    return {
        "$schema": Default("https://opencode.ai/config.json"),
        "model": f"{PROVIDER}/{served.main.name}",
        "provider": {
            PROVIDER: {
                "npm": "@ai-sdk/openai-compatible",
                "name": PROVIDER,
                "options": options,
                "models": models,
            }
        },
    }


OPENCODE_FOLDER: Final = Folder(("{config}/opencode",), mac=("{home}/.config/opencode",))

OPENCODE: Final = Client(
    "opencode",
    "opencode",
    routes=("/v1/chat/completions",),
    least_context_tokens=AGENT_CONTEXT_TOKENS,
    files=(ConfigFile(OPENCODE_FOLDER, "opencode.json", JSON, _opencode),),
    programs=("opencode",),
    folders=(OPENCODE_FOLDER,),
    steps=("opencode",),
)


def _goose_provider(served: Served) -> object:
    models = [{"name": one.name, "context_limit": one.context_tokens} for one in served.chat]
    provider: dict[str, object] = {
        "name": PROVIDER,
        "engine": "openai",
        "display_name": PROVIDER,
        "api_key_env": "",
        "base_url": served.v1,
        "models": models,
        "requires_auth": False,
        "supports_streaming": True,
        "timeout_seconds": LONG_SECONDS,
    }
    if served.has_key:
        provider["headers"] = {"Authorization": f"Bearer {served.key}"}
    return provider


def _goose(served: Served) -> object:
    return {"GOOSE_PROVIDER": PROVIDER, "GOOSE_MODEL": served.main.name}


GOOSE_FOLDER: Final = Folder(
    ("{config}/goose",), mac=("{home}/.config/goose",), windows=("{appdata}/Block/goose/config",)
)
GOOSE_PROVIDERS: Final = Folder(
    ("{config}/goose/custom_providers",),
    mac=("{home}/.config/goose/custom_providers",),
    windows=("{appdata}/Block/goose/config/custom_providers",),
)

GOOSE: Final = Client(
    "goose",
    "Goose",
    routes=("/v1/chat/completions",),
    least_context_tokens=AGENT_CONTEXT_TOKENS,
    files=(
        ConfigFile(GOOSE_PROVIDERS, f"{PROVIDER}.json", JSON, _goose_provider),
        ConfigFile(GOOSE_FOLDER, "config.yaml", YAML, _goose),
    ),
    programs=("goose",),
    folders=(GOOSE_FOLDER,),
    steps=("goose session",),
)


def _claude_code(served: Served) -> object:
    model = served.main.name
    return {
        "env": {
            "ANTHROPIC_BASE_URL": served.url,
            "ANTHROPIC_AUTH_TOKEN": served.key,
            "ANTHROPIC_API_KEY": "",
            "ANTHROPIC_DEFAULT_OPUS_MODEL": model,
            "ANTHROPIC_DEFAULT_SONNET_MODEL": model,
            "ANTHROPIC_DEFAULT_HAIKU_MODEL": model,
            "CLAUDE_CODE_SUBAGENT_MODEL": model,
            # It changes with each request, and with it the beginning of every prompt.
            "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
            "CLAUDE_CODE_AUTO_COMPACT_WINDOW": str(served.main.context_tokens),
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "API_TIMEOUT_MS": str(LONG_SECONDS * 1000),
        }
    }


CLAUDE_FOLDER: Final = Folder(("{home}/.claude",), variable="CLAUDE_CONFIG_DIR")

CLAUDE_CODE: Final = Client(
    "claude-code",
    "Claude Code",
    routes=("/v1/messages",),
    least_context_tokens=2 * AGENT_CONTEXT_TOKENS,
    files=(ConfigFile(CLAUDE_FOLDER, "settings.json", JSON, _claude_code),),
    programs=("claude",),
    folders=(CLAUDE_FOLDER,),
    steps=("claude --model {model}",),
)


def _aider(served: Served) -> object:
    return {
        "model": f"openai/{served.main.name}",
        "openai-api-base": served.v1,
        "openai-api-key": served.key,
    }


def _aider_models(served: Served) -> object:
    return {
        f"openai/{model.name}": {
            "max_tokens": model.output_tokens,
            "max_input_tokens": model.context_tokens,
            "max_output_tokens": model.output_tokens,
            "input_cost_per_token": 0,
            "output_cost_per_token": 0,
            "litellm_provider": "openai",
            "mode": "chat",
        }
        for model in served.chat
    }


AIDER_FOLDER: Final = Folder(("{home}",))

AIDER: Final = Client(
    "aider",
    "Aider",
    routes=("/v1/chat/completions",),
    files=(
        ConfigFile(AIDER_FOLDER, ".aider.conf.yml", YAML, _aider),
        ConfigFile(AIDER_FOLDER, ".aider.model.metadata.json", JSON, _aider_models),
    ),
    programs=("aider",),
    steps=("aider",),
)


def _crush(served: Served) -> object:
    models = [
        {
            "id": model.name,
            "name": model.name,
            "context_window": model.context_tokens,
            "default_max_tokens": model.output_tokens,
        }
        for model in served.chat
    ]
    provider = {
        "name": PROVIDER,
        "type": "openai-compat",
        "base_url": served.v1,
        "api_key": served.key,
        "models": models,
    }
    return {"$schema": Default("https://charm.land/crush.json"), "providers": {PROVIDER: provider}}


CRUSH_FOLDER: Final = Folder(
    ("{config}/crush",), mac=("{home}/.config/crush",), windows=("{localappdata}/crush",)
)

CRUSH: Final = Client(
    "crush",
    "Crush",
    routes=("/v1/chat/completions",),
    least_context_tokens=AGENT_CONTEXT_TOKENS,
    files=(ConfigFile(CRUSH_FOLDER, "crush.json", JSON, _crush),),
    programs=("crush",),
    folders=(CRUSH_FOLDER,),
    steps=("Start crush, and choose {model} of localserve with ctrl+l.",),
)

OPEN_WEBUI: Final = Client(
    "open-webui",
    "Open WebUI",
    routes=("/v1/chat/completions",),
    programs=("open-webui",),
    environment={"OPENAI_API_BASE_URLS": "{v1}", "OPENAI_API_KEYS": "{key}"},
    steps=(
        "Start it with these variables, or enter both under Admin Settings > Connections > OpenAI.",
        "In a container the address of this machine is another one, often host.docker.internal:"
        " there `localserve up --host 0.0.0.0` is needed, and a key.",
    ),
)

ENVIRONMENT: Final = Client(
    "env",
    "any program that reads OpenAI's variables",
    routes=("/v1/chat/completions",),
    environment={
        "OPENAI_BASE_URL": "{v1}",
        "OPENAI_API_BASE": "{v1}",
        "OPENAI_API_KEY": "{key}",
        "OPENAI_MODEL": "{model}",
    },
)

AGENTS: Final = (
    CODEX,
    OPENCODE,
    GOOSE,
    CLAUDE_CODE,
    AIDER,
    CRUSH,
    OPEN_WEBUI,
    ENVIRONMENT,
)
