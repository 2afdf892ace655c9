"""Models brought to this disk and removed from it while the server runs.

The network and the disk are used in workers. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

from localserve.catalog.download import Progress, Said, download
from localserve.catalog.downloaded import builtin_model, find_downloaded, to_spec
from localserve.catalog.finders.record import FoundModel
from localserve.catalog.package import Package
from localserve.catalog.remove import (
    check_removable,
    discard_parts,
    is_removable,
    model_to_remove,
    remove,
)
from localserve.catalog.spec import ModelSpec
from localserve.catalog.wanted import find_here, parse_wanted
from localserve.config import Settings
from localserve.errors import ModelUnusable, Overloaded, UnknownModel
from localserve.manager.names import without_latest
from localserve.manager.offer import DiskOffer
from localserve.planner.hardware import probe
from localserve.planner.pull import Proposal, propose

MOST_PULLS: Final = 4
"""So many downloads run at once."""

TELL_SECONDS: Final = 0.1
"""How long progress is gathered before it is told."""

END_SECONDS: Final = 10.0
"""How long a download that nobody waits for may take to end: until the next bytes come."""

REPEAT_SECONDS: Final = 10.0
"""How long nothing comes before the last news is told again."""


@dataclass(frozen=True, slots=True)
class Looking:
    """It is being found out what would come."""


@dataclass(frozen=True, slots=True)
class Arriving:
    """The files are coming: bytes that are here, of all. `digest` are 64 hexadecimal digits, the
    first file's SHA-256 where its server tells it."""

    digest: str
    progress: Progress


PullNews = Looking | Arriving | Said


class Library(Protocol):
    """What can be fetched and deleted."""

    def pull(self, name: str) -> AsyncGenerator[PullNews, None]:
        """Bring a model to this disk: a name, a repository or an address. News of it come until it
        is there; one that is here already brings none. Closing the generator ends the download,
        and what has come is kept.

        Raises: ModelUnusable, UnknownModel, AmbiguousName, Overloaded.
        """
        ...

    async def discard(self, name: str) -> int:
        """Delete what came of a pull of that name that was ended; returns the bytes freed.

        Raises: UnknownModel (nothing came), ModelUnusable (it goes on).
        """
        ...

    async def removable(self) -> frozenset[str]:
        """What requests call the models of this disk that may be deleted."""
        ...

    async def find(self, name: str) -> FoundModel:
        """A model that may be deleted. Raises: UnknownModel, NotDownloaded, ModelUnusable."""
        ...

    def spec_of(self, found: FoundModel) -> ModelSpec:
        """What requests call it."""
        ...

    async def delete(self, found: FoundModel) -> None:
        """Raises: ModelUnusable."""
        ...


@dataclass(frozen=True, slots=True)
class _Pull:
    """A download, under way or ended."""

    work: asyncio.Future[None]
    news: _News


class _Ended(Exception):
    """Nobody waits for the download any more."""


class DiskLibrary:
    """The models folder, and what can be downloaded into it."""

    def __init__(self, settings: Settings, offer: DiskOffer) -> None:
        self._settings = settings
        self._offer = offer
        self._pulls = 0
        self._last: dict[str, _Pull] = {}  # by name, until all has come
        # of their own: downloads would hold up all that is done in the common workers
        self._threads = ThreadPoolExecutor(MOST_PULLS, thread_name_prefix="pull")

    async def pull(self, name: str) -> AsyncGenerator[PullNews, None]:
        if self._pulls >= MOST_PULLS:
            raise Overloaded(
                f"{self._pulls} downloads are under way already; there may be {MOST_PULLS}.",
                retry_after_seconds=60,
            )
        self._pulls += 1
        news = _News()
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._threads, self._pull_until_ended, name, news)
        pull = self._last[name] = _Pull(work, news)
        work.add_done_callback(self._count_end)
        work.add_done_callback(news.end)
        try:
            while not work.done() or news.waiting:
                await news.come()
                if work.done() and not news.waiting:
                    break
                yield news.take()
                await asyncio.sleep(TELL_SECONDS)
            work.result()
            news.package = None  # all of it is here
        finally:
            news.ended = True
            if work.done() and news.package is None and self._last.get(name) is pull:
                del self._last[name]
            work.add_done_callback(_mark_retrieved)
            self._offer.look_again()

    def _count_end(self, work: asyncio.Future[None]) -> None:
        self._pulls -= 1

    def _pull_until_ended(self, name: str, news: _News) -> None:
        with contextlib.suppress(_Ended):
            self._pull(name, news)

    def _pull(self, name: str, news: _News) -> None:
        registry, settings = self._offer.registry, self._settings
        name = name if registry.find(name) is not None else without_latest(name)
        wanted = parse_wanted(name, registry, settings)
        if isinstance(wanted, ModelSpec) or find_here(wanted, registry, settings) is not None:
            return
        if settings.offline:
            raise ModelUnusable(
                f"{wanted.name} is not on this disk and cannot be downloaded: the network is not to"
                f" be used ({settings.sources['offline']}).",
                hint="Start the server without that.",
            )
        hardware = probe(settings)
        found = propose(wanted, registry, settings, hardware, say=news.say)
        if isinstance(found, FoundModel):
            return
        if found.verdict.level == "too large":
            raise ModelUnusable(
                f"{found.package.name} is not downloaded: it {found.verdict.text}.",
                hint="Take a smaller quantization or model, or download it all the same with"
                f" `localserve pull {name} --yes`.",
            )
        news.package = found.package
        digest = _digest(found)
        download(found.package, settings, lambda told: news.tell(digest, told))

    async def discard(self, name: str) -> int:
        pull = self._last.get(name)
        if pull is None:
            raise UnknownModel(name, (), hint="Only what was fetched in part is discarded.")
        await asyncio.wait([pull.work], timeout=END_SECONDS)
        if not pull.work.done():
            raise ModelUnusable(
                f"{name} is still being fetched.", hint="End that first, then try again."
            )
        self._last.pop(name, None)
        if pull.news.package is None:
            return 0
        return await asyncio.to_thread(discard_parts, pull.news.package, self._settings)

    async def removable(self) -> frozenset[str]:
        own = [one for one in await self._offer.found() if is_removable(one, self._settings)]
        return frozenset(self.spec_of(found).name for found in own)

    async def find(self, name: str) -> FoundModel:
        return await asyncio.to_thread(self._find, name)

    def _find(self, name: str) -> FoundModel:
        registry = self._offer.registry
        models = (*find_downloaded(registry, self._settings).models, builtin_model())
        try:
            found = model_to_remove(name, models, registry)
        except UnknownModel:
            if (bare := without_latest(name)) == name:
                raise
            found = model_to_remove(bare, models, registry)
        check_removable(found, self._settings)
        return found

    def spec_of(self, found: FoundModel) -> ModelSpec:
        return to_spec(found, self._offer.registry)

    async def delete(self, found: FoundModel) -> None:
        try:
            await asyncio.to_thread(remove, found, self._settings)
        finally:
            self._offer.look_again()


class _News:
    """What a download's thread tells, for the event loop to take: what it said, how far it is now,
    and of what `package` parts may be here. Made on the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._come = asyncio.Event()
        self._said: list[PullNews] = []
        self._last: PullNews = Looking()
        self._fresh = False
        self.ended = False
        self.package: Package | None = None

    @property
    def waiting(self) -> bool:
        """Whether there is something that was not told."""
        return bool(self._said) or self._fresh

    def say(self, text: str) -> None:
        """From the thread. Raises: _Ended."""
        self._tell(Said(text))

    def tell(self, digest: str, told: Progress | Said) -> None:
        """From the thread. Raises: _Ended."""
        self._tell(told if isinstance(told, Said) else Arriving(digest, told))

    def _tell(self, news: PullNews) -> None:
        if self.ended:
            raise _Ended
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._take, news)

    def _take(self, news: PullNews) -> None:
        if isinstance(news, Said):
            self._said.append(news)
        else:
            self._last, self._fresh = news, True
        self._come.set()

    def end(self, work: asyncio.Future[None]) -> None:
        """The thread is done."""
        self._come.set()

    async def come(self) -> None:
        """Wait for news, for the end, or until it is time to tell the last news again."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REPEAT_SECONDS):
                await self._come.wait()

    def take(self) -> PullNews:
        """The next news, or the last once more."""
        if self._said:
            news: PullNews = self._said.pop(0)
        else:
            news, self._fresh = self._last, False
        if not self.waiting:
            self._come.clear()
        return news


def _digest(proposal: Proposal) -> str:
    """The first file's, or digits that are the same for the same download."""
    first = proposal.package.files[0]
    if first.checksum is not None and len(first.checksum.digest) == 64:
        return first.checksum.digest
    return hashlib.sha256(first.url.encode()).hexdigest()


def _mark_retrieved(work: asyncio.Future[None]) -> None:
    """Nobody is left to hear of its failure."""
    if not work.cancelled():
        work.exception()
