"""Kept answers to questions that mean the same, by an embedding model of this server.

Only where somebody asked for it, for a single question without tools, and within one scope. Where
the embedding model fails, questions have no similar ones. Lives on the event loop.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from localserve.chat import EmbeddingRequest
from localserve.errors import LocalserveError
from localserve.manager import ModelManager
from localserve.response_cache.cache import ResponseCache
from localserve.response_cache.question import Key
from localserve.response_cache.similar import Similar, SimilarQuestions, Vector

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Meaning:
    """What a question means: `vector` within `group`. `similar` has an answer that is near enough
    to be given."""

    group: Key
    vector: Vector
    similar: Similar | None


class SimilarAnswers:
    """Finds and remembers questions for one cache."""

    def __init__(
        self, cache: ResponseCache, manager: ModelManager, model: str, most_distance: float
    ) -> None:
        """`model` makes the vectors; answers within `most_distance` are given."""
        self._cache = cache
        self._manager = manager
        self._model = model
        self._most_distance = most_distance
        self._questions = SimilarQuestions()
        self._broken = False

    async def look(self, key: Key, group: Key, words: str) -> Meaning | None:
        """What the words mean; None where `key` has an answer of its own, or nobody can tell."""
        if await self._cache.holds(key):
            return None
        vector = await self._vector(words)
        if vector is None:
            return None
        near = self._questions.nearest(group, vector, time.time())
        if near is None or near.distance > self._most_distance:
            return Meaning(group, vector, None)
        if not await self._cache.holds(near.key):
            self._questions.drop(near.key)
            return Meaning(group, vector, None)
        log.info(
            "%s: the kept answer to a similar question is given, at a distance of %.4f",
            near.key.model,
            near.distance,
        )
        return Meaning(group, vector, near)

    def remember(self, key: Key, meaning: Meaning, expires_at: float) -> None:
        """The answer to a question is kept under `key` until then."""
        self._questions.add(meaning.group, meaning.vector, key, expires_at)

    async def _vector(self, words: str) -> Vector | None:
        try:
            async with self._manager.lease(self._model) as lease:
                answer = await lease.backend.embed(EmbeddingRequest(self._model, (words,)))
        except LocalserveError as error:
            if not self._broken:
                self._broken = True
                log.warning(
                    "Similar questions are not found until %r makes vectors: %s", self._model, error
                )
            return None
        self._broken = False
        vector: Vector = answer.vectors[0]
        return vector
