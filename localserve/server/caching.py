"""Where requests meet the response cache: which of them, under which key, and what is told of it.

Lives on the event loop; files are looked at in a worker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, cast

from starlette.types import Scope

from localserve.catalog.file_identity import file_identities
from localserve.catalog.filenames import shard_names
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.chat import ChatEvent, ChatRequest, EmbeddingAnswer, EmbeddingRequest
from localserve.config import Settings
from localserve.errors import LocalserveError
from localserve.gateway.caller import caller_of
from localserve.manager import ModelManager, Ready
from localserve.prompting.moment import tells_day
from localserve.response_cache.cache import Outcome, ResponseCache
from localserve.response_cache.question import (
    Key,
    Question,
    TextQuestion,
    is_determined,
    is_whole,
    key_of,
    settled,
    without_words,
    words_of,
)
from localserve.response_cache.redis_store import RedisStore
from localserve.response_cache.sqlite_store import FILE_NAME, SqliteStore
from localserve.response_cache.value import Item
from localserve.server.records import RequestRecord, record_of
from localserve.server.similar_answers import SimilarAnswers
from localserve.versions import version_of

MEMORY_BYTES: Final = 64 << 20
"""The bound on kept answers in memory."""

DISTANCE_HEADER: Final = b"x-localserve-cache-distance"
"""How far the question was to which the answer was given first."""

Compute = Callable[[], AsyncGenerator[ChatEvent, None]]


@dataclass(frozen=True, slots=True)
class _Asked:
    """A question's key. `words` may be others (None: they may not), in questions of one `group`."""

    key: Key
    group: Key
    words: str | None


@dataclass(frozen=True, slots=True, eq=False)
class _Recorded:
    """Who asks, by the record of the request. `distance` is that to a similar question."""

    record: RequestRecord
    distance: float | None

    def told(self, outcome: Outcome) -> None:
        self.record.kept(outcome)
        if outcome == "hit" and self.distance is not None:
            self.record.set_header(DISTANCE_HEADER, f"{self.distance:.4f}".encode())

    def take_over(self, left: object) -> None:
        assert isinstance(left, _Recorded)
        self.record.take_over(left.record)


class Caching:
    """The cache of one server, and what its keys are made of."""

    def __init__(self, cache: ResponseCache, manager: ModelManager, settings: Settings) -> None:
        self.cache = cache
        self._manager = manager
        self._settings = settings
        self._versions = (version_of("localserve"), version_of("llama-cpp-python"))
        self._similar = _similar_answers(cache, manager, settings)
        self._files: dict[tuple[object, ...], object] = {}

    async def answer(
        self,
        scope: Scope,
        request: Question,
        compute: Callable[[], AsyncGenerator[Item, None]],
    ) -> AsyncGenerator[Item, None]:
        """What is kept of an answer, else what `compute` makes of it. Raises: as that."""
        record, wishes = record_of(scope), _cache_wishes(scope)
        asked = None if "no-store" in wishes else await self._asked(scope, request)
        if asked is None:
            self.cache.figures.count("bypass")
            record.kept("bypass")
            async with aclosing(compute()) as items:
                async for item in items:
                    yield item
            return
        began = datetime.now().astimezone()
        anew = bool(wishes & {"no-cache", "max-age=0"})
        key, meaning = asked.key, None
        if asked.words is not None and self._similar is not None and not anew:
            meaning = await self._similar.look(key, asked.group, asked.words)

        async def keep(items: Sequence[Item]) -> float | None:
            if not is_whole(items):
                return None
            until = await self._until(request, began)
            if meaning is not None and self._similar is not None:
                self._similar.remember(key, meaning, until)
            return until

        similar = meaning.similar if meaning is not None else None

        asker = _Recorded(record, similar.distance if similar is not None else None)
        found = similar.key if similar is not None else None
        answer = self.cache.answer(key, compute, keep, asker, similar=found, anew=anew)
        async with aclosing(answer) as items:
            async for item in items:
                yield item

    async def _asked(self, scope: Scope, request: Question) -> _Asked | None:
        """None where the answer is not determined, or nobody knows by which file."""
        try:
            spec = (await self._manager.report_on(request.model)).spec
        except LocalserveError:
            return None  # whoever computes it says why
        question = settled(request, spec, self._settings)
        if not is_determined(question):
            return None
        files = await self._identity(spec)
        if files is None:
            return None
        key = partial(
            key_of,
            spec=spec,
            settings=self._settings,
            files=files,
            scope="" if self._settings.share_responses else caller_of(scope).prefix_scope,
            versions=self._versions,
        )
        words = words_of(question)
        if words is None or not isinstance(question, ChatRequest):
            return _Asked(key(question), key(question), None)
        return _Asked(key(question), key(without_words(question)), words)

    async def _identity(self, spec: ModelSpec) -> object | None:
        """Which model its files hold; read again when one of them has changed."""
        if not isinstance(spec.source, LocalFile):
            return None
        path = spec.source.path
        try:
            state = await asyncio.to_thread(_state, path)
            if state not in self._files:
                files = await asyncio.to_thread(file_identities, path)
                if self._settings.redis_url:  # a copy on another machine has another time
                    files = [[size, digest] for size, _, digest in files]
                self._files[state] = files
            return self._files[state]
        except OSError:
            return None

    async def _until(self, request: Question, began: datetime) -> float:
        """Until when an answer counts: not beyond its day, where the template tells the day."""
        end = time.time() + self._settings.response_cache_seconds
        if not isinstance(request, ChatRequest):
            return end
        state = (await self._manager.report_on(request.model)).state
        if isinstance(state, Ready) and not tells_day(state.facts.chat_template):
            return end
        tomorrow = (began + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        return min(end, tomorrow.timestamp())


def caching_for(settings: Settings, manager: ModelManager) -> Caching | None:
    """The cache that is configured; None where it is off. Raises: ConfigInvalid (Redis)."""
    if not settings.response_cache:
        return None
    store = (
        RedisStore(settings.redis_url)
        if settings.redis_url
        else SqliteStore(
            settings.cache_dir / FILE_NAME,
            settings.response_cache_bytes,
            settings.response_cache_seconds,
        )
    )
    return Caching(ResponseCache(store, MEMORY_BYTES), manager, settings)


def _similar_answers(
    cache: ResponseCache, manager: ModelManager, settings: Settings
) -> SimilarAnswers | None:
    model = settings.semantic_cache_model
    if model is None:
        return None
    return SimilarAnswers(cache, manager, model, settings.semantic_cache_distance)


def kept_events(
    scope: Scope, request: TextQuestion, compute: Compute
) -> AsyncGenerator[ChatEvent, None]:
    """The events of an answer, kept or computed. Raises: as `compute`."""
    caching = _caching_of(scope)
    if caching is None:
        return compute()
    answer = caching.answer(scope, request, cast(Any, compute))
    return cast("AsyncGenerator[ChatEvent, None]", answer)


async def kept_vectors(
    scope: Scope, request: EmbeddingRequest, compute: Callable[[], Awaitable[Any]]
) -> EmbeddingAnswer:
    """The vectors, kept or computed. Raises: as `compute`."""
    caching = _caching_of(scope)
    if caching is None:
        return cast(EmbeddingAnswer, await compute())

    async def computed() -> AsyncGenerator[Item, None]:
        yield await compute()

    async with aclosing(caching.answer(scope, request, computed)) as items:
        answers = [item async for item in items]
    assert isinstance(answers[0], EmbeddingAnswer)
    return answers[0]


def _caching_of(scope: Scope) -> Caching | None:
    return cast("Caching | None", scope["app"].state.caching)


def _cache_wishes(scope: Scope) -> set[str]:
    """The directives of the request's Cache-Control."""
    texts = (value for name, value in scope["headers"] if name == b"cache-control")
    text = b",".join(texts).decode("latin-1").lower()
    return {part.strip().replace(" ", "") for part in text.split(",")}


def _state(path: Path) -> tuple[object, ...]:
    """Changes whenever one of a model's files does. Raises: OSError."""
    parts = [path.with_name(part).stat() for part in shard_names(path.name)]
    return (path, *((part.st_ino, part.st_size, part.st_mtime_ns) for part in parts))
