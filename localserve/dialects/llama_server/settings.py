"""Generation settings under llama-server's names, as answers, slots and properties tell them. Pure.

What this server does not have stands there as switched off, for clients that look for it.
Source: task_params::to_json in llama.cpp's server-task.cpp.
"""

from __future__ import annotations

from localserve.chat import Sampling
from localserve.dialects import samplers

RANDOM_SEED = 0xFFFF_FFFF
"""Stands for a seed that is drawn."""

_OFF: dict[str, object] = {
    "dynatemp_range": 0.0,
    "dynatemp_exponent": 1.0,
    "top_n_sigma": -1.0,
    "xtc_probability": 0.0,
    "xtc_threshold": 0.1,
    "dry_multiplier": 0.0,
    "dry_base": 1.75,
    "dry_allowed_length": 2,
    "dry_penalty_last_n": 0,
    "mirostat": 0,
    "mirostat_tau": 5.0,
    "mirostat_eta": 0.1,
    "adaptive_target": -1.0,
    "adaptive_decay": 0.9,
    "n_keep": 0,
    "n_discard": 0,
    "min_keep": 0,
    "dry_sequence_breakers": ["\n", ":", '"', "*"],
    "grammar": "",
    "grammar_lazy": False,
    "grammar_triggers": [],
    "preserved_tokens": [],
    "chat_format": "Content-only",
    "reasoning_format": "none",
    "reasoning_in_content": False,
    "generation_prompt": "",
    "speculative.types": "none",
    "backend_sampling": False,
    "post_sampling_probs": False,
    "lora": [],
}


def settings_fields(
    sampling: Sampling,
    *,
    max_tokens: int | None = None,
    stop: tuple[str, ...] = (),
    ignore_eos: bool = False,
    stream: bool = False,
    probabilities: int = 0,
    timings: bool = False,
) -> dict[str, object]:
    """`sampling` is complete: nothing in it but the seed is None."""
    limit = -1 if max_tokens is None else max_tokens
    return {
        **_OFF,
        "seed": RANDOM_SEED if sampling.seed is None else sampling.seed,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k,
        "top_p": sampling.top_p,
        "min_p": sampling.min_p,
        "typical_p": sampling.typical_p,
        "repeat_last_n": sampling.repeat_last_n,
        "repeat_penalty": sampling.repeat_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "logit_bias": [{"token": token, "bias": bias} for token, bias in sampling.logit_bias or ()],
        "stop": list(stop),
        "max_tokens": limit,
        "n_predict": limit,
        "ignore_eos": ignore_eos,
        "stream": stream,
        "n_probs": probabilities,
        "samplers": samplers.active(sampling),
        "timings_per_token": timings,
    }
