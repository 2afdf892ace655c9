"""`/api/tags`, `/api/show` and `/api/ps`: what clients may know of models.

Clients check these strictly, so every field is there, if empty. Pure; knows nothing of HTTP.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from localserve.chat import Sampling
from localserve.dialects.bounds import Name
from localserve.dialects.ollama.times import NEVER, date_text
from localserve.dialects.schema import WireBody, read_json
from localserve.errors import InvalidRequest

VERSION: Final = "0.13.5"
"""The version of Ollama whose API this is; clients refuse what is too old for them."""

INFILL_MARK: Final = "{{- /* .Suffix */ -}}"
"""Clients look for `.Suffix` in a template before they ask for the middle of a text."""

_LEFT_OUT: Final = ("general.name", "tokenizer.chat_template")
"""Keys of a file that are told elsewhere, as in Ollama."""


@dataclass(frozen=True, slots=True)
class Described:
    """A model, as far as its file tells. Times are in seconds since the epoch.

    `values` are the file's own keys, None in the place of what is long. `context_tokens` is what
    one request may use now, or could if the model were loaded; 0 where the file says nothing.
    `removable` says that `/api/delete` deletes it.
    """

    name: str
    size_bytes: int
    digest: str
    modified_at: float
    architecture: str = ""
    parameters: int = 0
    quantization: str = ""
    context_tokens: int = 0
    template: str = ""
    capabilities: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=Sampling)
    values: Mapping[str, str | int | float | bool | None] | None = None
    removable: bool = False


@dataclass(frozen=True, slots=True)
class Running:
    """A loaded model. `expires_at` is None where it stays until its memory is needed."""

    model: Described
    memory_bytes: int
    gpu_bytes: int
    expires_at: float | None


class ShowBody(WireBody):
    """Newer clients write `model`, older ones `name`."""

    model: Name | None = None
    name: Name | None = None


def parse_show(body: bytes) -> str:
    """The name of the model to show. Raises: InvalidRequest, InvalidSchema."""
    show = read_json(ShowBody, body)
    name = show.model or show.name
    if not name:
        raise InvalidRequest("No model is named.", param="model", hint='Send {"model": NAME}.')
    return name


def list_fields(models: Sequence[Described]) -> dict[str, object]:
    """The list of models that can be asked for. `removable` is not Ollama's."""
    return {"models": [_list_entry(model) for model in models]}


def running_fields(models: Sequence[Running]) -> dict[str, object]:
    """The list of loaded models."""
    return {"models": [_running_entry(one) for one in models]}


def show_fields(model: Described) -> dict[str, object]:
    """All that is known of one model."""
    values = model.values or {}
    template = model.template
    if "insert" in model.capabilities:
        template = f"{template}\n{INFILL_MARK}".lstrip("\n")
    parameters = _parameters(model)
    return {
        "license": str(values.get("general.license") or ""),
        "modelfile": "\n".join([f"FROM {model.name}", *(f"PARAMETER {one}" for one in parameters)]),
        "parameters": "\n".join(parameters),
        "template": template,
        "system": "",
        "details": _details(model),
        "model_info": _model_info(model),
        "capabilities": list(model.capabilities),
        "modified_at": date_text(model.modified_at),
    }


def _list_entry(model: Described) -> dict[str, object]:
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": date_text(model.modified_at),
        "size": model.size_bytes,
        "digest": model.digest,
        "details": _details(model),
        "removable": model.removable,
    }


def _running_entry(running: Running) -> dict[str, object]:
    model, expires_at = running.model, running.expires_at
    return {
        "name": model.name,
        "model": model.name,
        "size": running.memory_bytes,
        "digest": model.digest,
        "details": _details(model),
        "expires_at": NEVER if expires_at is None else date_text(expires_at),
        "size_vram": running.gpu_bytes,
        "context_length": model.context_tokens,
    }


def _details(model: Described) -> dict[str, object]:
    return {
        "parent_model": "",
        "format": "gguf",
        "family": model.architecture,
        "families": [model.architecture] if model.architecture else [],
        "parameter_size": count_text(model.parameters) if model.parameters else "",
        "quantization_level": model.quantization,
    }


def _model_info(model: Described) -> dict[str, object]:
    """The file's keys; the context is the one that requests may use, not the trained one, because
    clients fill what is told here."""
    info: dict[str, object] = {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in (model.values or {}).items()
        if key not in _LEFT_OUT
    }
    if model.architecture:
        info["general.architecture"] = model.architecture
        info["general.parameter_count"] = model.parameters
        info[f"{model.architecture}.context_length"] = model.context_tokens
    return info


def _parameters(model: Described) -> list[str]:
    """The model's defaults, a line each."""
    sampling = model.sampling
    values: dict[str, object] = {
        "num_ctx": model.context_tokens or None,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "typical_p": sampling.typical_p,
        "repeat_penalty": sampling.repeat_penalty,
        "repeat_last_n": sampling.repeat_last_n,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "seed": sampling.seed,
    }
    return [f"{name:<30} {value}" for name, value in values.items() if value is not None]


def count_text(count: int) -> str:
    """Such as '8.2B', '22.57M' or '512K'."""
    if count >= 10**9:
        return f"{count / 1e9:.1f}B"
    if count >= 10**6:
        return f"{count / 1e6:.2f}M"
    return f"{count / 1e3:.0f}K" if count >= 10**3 else str(count)
