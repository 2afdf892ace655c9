"""What the loads and answers of one model teach, put beside what was predicted of them.

Lives on the event loop; what is kept is written by a worker.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from localserve.chat import Completed
from localserve.config import Settings
from localserve.gguf.facts import GgufFacts
from localserve.planner.forecast import Forecast
from localserve.planner.learned import (
    AnswerLesson,
    LoadLesson,
    learn_answer,
    learn_load,
    lesson_of,
)
from localserve.planner.usage import MemoryUsage

log = logging.getLogger(__name__)

LEAST_ANSWER_TOKENS = 16
LEAST_PROMPT_TOKENS = 128
"""Shorter ones tell more of the clock than of the model."""

MOST_LESSONS = 32
"""Per load: afterwards nothing new is to be learned."""


class Teacher:
    """Watches the answers of one loaded model.

    `predict` tells what times were to be expected, which may take a second: it is asked once, in a
    worker, when an answer is worth a lesson. Where it gives None there is nothing to learn.
    """

    def __init__(
        self,
        settings: Settings,
        backend: str,
        predict: Callable[[], Forecast | None],
    ) -> None:
        self._settings = settings
        self._backend = backend
        self._predict = predict
        self._running = 0
        self._disturbed = False
        self._left = MOST_LESSONS
        self._predicted: Forecast | None = None
        self._teaching: asyncio.Task[None] | None = None

    def begin(self, sequences: int) -> None:
        """A request begins that computes so many sequences. Of those that run together none
        teaches."""
        self._running += 1
        self._disturbed = self._disturbed or self._running > 1 or sequences > 1

    def end(self, completed: Completed | None) -> None:
        """A request ended; `completed` if it was answered to the end."""
        alone = not self._disturbed
        self._running -= 1
        self._disturbed = self._disturbed and self._running > 0
        busy = self._teaching is not None and not self._teaching.done()
        if completed is None or not alone or busy or not self._left or not _tells(completed):
            return
        self._left -= 1
        self._teaching = asyncio.create_task(asyncio.to_thread(self._teach, completed))

    async def close(self) -> None:
        """Wait until what was learned is written."""
        if self._teaching is not None:
            await asyncio.wait([self._teaching])

    def _teach(self, completed: Completed) -> None:
        self._predicted = self._predicted or self._predict()
        if self._predicted is None:
            self._left = 0
            return
        lesson = _lesson(self._backend, completed, self._predicted)
        if lesson.decode is not None or lesson.prompt is not None:
            learn_answer(self._settings, lesson)


def _tells(completed: Completed) -> bool:
    """Whether the answer is long enough to tell of speed."""
    return completed.timings.timed_tokens >= LEAST_ANSWER_TOKENS


def _lesson(backend: str, completed: Completed, predicted: Forecast) -> AnswerLesson:
    """The times that the answer took beside those predicted for just that prompt and answer."""
    usage, timings = completed.usage, completed.timings
    decode = prompt = None
    token = predicted.token_seconds(usage.prompt_tokens + timings.timed_tokens // 2)
    if token and not timings.guessed_tokens:  # guesses come sooner or later than single tokens
        decode = timings.answer_ms / 1e3 / timings.timed_tokens / token
    computed = usage.prompt_tokens - usage.cached_tokens
    if computed >= LEAST_PROMPT_TOKENS:
        first = predicted.prompt_seconds(computed, usage.cached_tokens)
        prompt = timings.prompt_ms / 1e3 / first if first else None
    return lesson_of(predicted.facts, predicted.machine.key, backend, decode, prompt)


def compare_load(
    settings: Settings, facts: GgufFacts, backend: str, predicted: MemoryUsage, taken: MemoryUsage
) -> None:
    """Log what a load took beside what was predicted, and keep it."""
    off = 100 * (taken.total_bytes / max(1, predicted.total_bytes) - 1)
    log.info(
        "%s takes %.0f MiB, %.0f MiB were predicted (%+.1f %%)",
        facts.name or facts.file,
        taken.total_bytes / 2**20,
        predicted.total_bytes / 2**20,
        off,
    )
    lesson = LoadLesson(predicted.total_bytes, taken.total_bytes)
    learn_load(settings, facts.architecture, backend, lesson)
