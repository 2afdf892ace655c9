"""Counts and times under llama-server's names, which clients of several dialects read. Pure."""

from __future__ import annotations

from localserve.chat import (
    AnswerProgress,
    ChatEvent,
    Finished,
    PromptProgress,
    Timings,
    Usage,
)


def timing_fields(usage: Usage, timings: Timings) -> dict[str, object]:
    """`prompt_n` are the tokens really computed, `cache_n` those that were there before.

    `predicted_ms` begins with the first token, so its rates are those of the tokens after it.
    `draft_n` and `draft_n_accepted`, what was guessed ahead and came out right, are there where
    anything was guessed.
    """
    computed = usage.prompt_tokens - usage.cached_tokens
    guesses: dict[str, object] = {}
    if timings.guessed_tokens:
        guesses["draft_n"] = timings.guessed_tokens
        guesses["draft_n_accepted"] = timings.right_tokens
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
        **guesses,
    }


def _ratio(amount: float, of: float) -> float:
    """0 where there is nothing to divide by."""
    return round(amount / of, 3) if of > 0 else 0.0


def progress_fields(progress: PromptProgress) -> dict[str, object]:
    """How far a prompt is; `total`, `cache` and `processed` count tokens."""
    return {
        "total": progress.prompt_tokens,
        "cache": progress.cached_tokens,
        "processed": progress.computed_tokens,
        "time_ms": round(progress.elapsed_ms),
    }


class Speed:
    """Counts and times of running answers, by what their events tell."""

    def __init__(self) -> None:
        self._prompts: dict[int, PromptProgress] = {}
        self._answers: dict[int, AnswerProgress] = {}
        self._ends: dict[int, Finished] = {}

    def observe(self, event: ChatEvent) -> None:
        """Take what an event tells."""
        match event:
            case PromptProgress():
                self._prompts[event.choice] = event
            case AnswerProgress():
                self._answers[event.choice] = event
            case Finished():
                self._ends[event.choice] = event
            case _:
                pass

    def fields(self, choice: int) -> dict[str, object]:
        """The times of one choice so far."""
        if (end := self._ends.get(choice)) is not None:
            return timing_fields(end.usage, end.timings)
        prompt = self._prompts.get(choice, PromptProgress(choice, 0, 0, 0, 0.0))
        answer = self._answers.get(choice, AnswerProgress(choice, 0, 0.0))
        count = answer.answer_tokens
        usage = Usage(prompt.prompt_tokens, count, prompt.cached_tokens)
        timed = max(0, count - 1)
        return timing_fields(usage, Timings(0.0, prompt.elapsed_ms, answer.elapsed_ms, timed))
