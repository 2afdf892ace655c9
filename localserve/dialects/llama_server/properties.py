"""`GET /props` and `GET /slots`: what is told of a model and of its running answers. Pure.

Source: get_res_props and server_slot::to_json in llama.cpp's server-context.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from localserve.chat import Sampling
from localserve.dialects.llama_server.settings import settings_fields

_CAPABILITIES = (
    "string_content",
    "typed_content",
    "system_role",
    "tools",
    "tool_calls",
    "parallel_tool_calls",
    "preserve_reasoning",
    "object_arguments",
)
"""What chat templates can do, by llama.cpp's names."""


@dataclass(frozen=True, slots=True)
class Properties:
    """What clients may know of a loaded model. `slots` requests are computed at once."""

    model: str
    file: str
    context_tokens: int
    slots: int
    sampling: Sampling
    chat_template: str
    begin_text: str
    end_text: str
    writes: bool


@dataclass(frozen=True, slots=True)
class Running:
    """A running answer. `computed_tokens` are those of its prompt."""

    number: int
    prompt_tokens: int
    cached_tokens: int
    computed_tokens: int
    answer_tokens: int
    answer_tokens_left: int
    has_new_line: bool
    sampling: Sampling
    max_tokens: int | None


def properties_fields(model: Properties, build: str) -> dict[str, object]:
    """The answer of `GET /props`.

    Tools work with every template here: one that knows none is told of them in words.
    """
    return {
        "default_generation_settings": {
            "n_ctx": model.context_tokens,
            "params": settings_fields(model.sampling),
        },
        "total_slots": model.slots,
        "model_alias": model.model,
        "model_path": model.file,
        "modalities": {"vision": False, "audio": False, "video": False},
        "endpoint_slots": True,
        "endpoint_props": False,
        "endpoint_metrics": False,
        "chat_template": model.chat_template,
        "chat_template_caps": {f"supports_{name}": model.writes for name in _CAPABILITIES},
        "bos_token": model.begin_text,
        "eos_token": model.end_text,
        "build_info": build,
        "is_sleeping": False,
    }


def slots_fields(
    running: Sequence[Running], *, slots: int, busy: int, context_tokens: int
) -> list[dict[str, object]]:
    """The answer of `GET /slots`: a slot for each request that can be computed at once.

    `busy` of them compute, of which `running` are known more closely. Texts are not told.
    """
    count = max(slots, busy, len(running))
    free: list[dict[str, object]] = [
        {"id": index, "n_ctx": context_tokens, "speculative": False, "is_processing": index < busy}
        for index in range(count)
    ]
    taken = [
        slot | {"is_processing": True} | _slot(one)
        for slot, one in zip(free, running, strict=False)
    ]
    return [*taken, *free[len(running) :]]


def _slot(one: Running) -> dict[str, object]:
    return {
        "id_task": one.number,
        "n_prompt_tokens": one.prompt_tokens,
        "n_prompt_tokens_processed": max(0, one.computed_tokens - one.cached_tokens),
        "n_prompt_tokens_cache": one.cached_tokens,
        "params": settings_fields(one.sampling, max_tokens=one.max_tokens),
        "next_token": [
            {
                "has_next_token": one.answer_tokens_left > 0,
                "has_new_line": one.has_new_line,
                "n_remain": one.answer_tokens_left,
                "n_decoded": one.answer_tokens,
            }
        ],
    }
