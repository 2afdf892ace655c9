"""Counts and times under llama-server's names, which clients of several dialects read. Pure."""

from __future__ import annotations

from localserve.chat import Timings, Usage


def timing_fields(usage: Usage, timings: Timings) -> dict[str, object]:
    """`prompt_n` are the tokens really computed, `cache_n` those that were there before.

    `predicted_ms` begins with the first token, so its rates are those of the tokens after it.
    """
    computed = usage.prompt_tokens - usage.cached_tokens
    return {
        "cache_n": usage.cached_tokens,
        "prompt_n": computed,
        "prompt_ms": round(timings.prompt_ms, 3),
        "prompt_per_token_ms": _ratio(timings.prompt_ms, computed),
        "prompt_per_second": _ratio(computed * 1e3, timings.prompt_ms),
        "predicted_n": usage.completion_tokens,
        "predicted_ms": round(timings.answer_ms, 3),
        "predicted_per_token_ms": _ratio(timings.answer_ms, timings.timed_tokens),
        "predicted_per_second": _ratio(timings.timed_tokens * 1e3, timings.answer_ms),
    }


def _ratio(amount: float, of: float) -> float:
    """0 where there is nothing to divide by."""
    return round(amount / of, 3) if of > 0 else 0.0
