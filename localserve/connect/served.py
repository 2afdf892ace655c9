"""What a client has to be told of a running server. Pure; knows nothing of clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from localserve.errors import LocalserveError

PLACEHOLDER_KEY: Final = "none"
"""What clients send that insist on a key, to a server that needs none."""

MOST_OUTPUT_TOKENS: Final = 8192


class NothingToConnect(LocalserveError):
    """The server has no loaded model that a client could use."""

    code = "nothing_to_connect"
    description = "No model that is loaded does what the client needs."


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A loaded model. `context_tokens` is what one request may really use."""

    name: str
    context_tokens: int
    capabilities: tuple[str, ...]

    @property
    def output_tokens(self) -> int:
        """What a client should keep free of the context for an answer."""
        return min(self.context_tokens // 4, MOST_OUTPUT_TOKENS)

    @property
    def input_tokens(self) -> int:
        """What is left of the context for a prompt."""
        return self.context_tokens - self.output_tokens


@dataclass(frozen=True, slots=True)
class Served:
    """A running server: where it answers, what it has loaded (the default model first), and the
    key that it wants."""

    url: str
    models: tuple[ServedModel, ...]
    key: str = PLACEHOLDER_KEY

    @property
    def v1(self) -> str:
        """Where OpenAI's API begins."""
        return f"{self.url}/v1"

    @property
    def has_key(self) -> bool:
        """Whether the key is a real one."""
        return self.key != PLACEHOLDER_KEY

    def able(self, capability: str) -> tuple[ServedModel, ...]:
        """The models that can do it."""
        return tuple(model for model in self.models if capability in model.capabilities)

    def first(self, capability: str) -> ServedModel | None:
        """The model for it, if there is one."""
        return next(iter(self.able(capability)), None)

    @property
    def chat(self) -> tuple[ServedModel, ...]:
        """The models that write text."""
        return self.able("completion")

    @property
    def main(self) -> ServedModel:
        """The model for conversations. Raises: NothingToConnect."""
        if (model := self.first("completion")) is None:
            raise NothingToConnect(
                "None of the loaded models writes text.",
                hint="--model NAME takes another one; `localserve list` shows which there are.",
            )
        return model


def parse_models(document: Mapping[str, Any], only: str | None = None) -> tuple[ServedModel, ...]:
    """The loaded models of an answer of `GET /admin/models`, the default one first; only the one
    of that name, if one is given."""
    loaded: Sequence[Mapping[str, Any]] = [
        model
        for model in document["models"]
        if model["state"] == "loaded" and only in (None, model["id"])
    ]
    ordered = sorted(loaded, key=lambda model: bool(model["id"] != document["default"]))
    return tuple(
        ServedModel(model["id"], model["context_tokens"], tuple(model["capabilities"]))
        for model in ordered
    )
