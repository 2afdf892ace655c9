"""The headers of a model's files, wherever they are: what the model is before it is downloaded.

From this disk, from the hub (one quantization or all) or from any address; a few MB each, kept
until the files change. Blocking: call it from a worker thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, assert_never

from localserve.catalog.filenames import MAX_SHARDS, by_preference, shard_names
from localserve.catalog.header_cache import HeaderCache
from localserve.catalog.header_fetch import Progress, Target, fetch_header
from localserve.catalog.hub import (
    choose_files,
    hub_access,
    hub_errors,
    list_files,
    missing_shards,
    nothing_offered,
    offer_of,
    several_models,
)
from localserve.catalog.locate import check_file
from localserve.catalog.package import choose_projector
from localserve.catalog.ranges import FIRST_READ_BYTES
from localserve.catalog.remote import RemoteFile
from localserve.catalog.shared_vocabulary import START_BYTES
from localserve.catalog.sources import UrlFile
from localserve.catalog.spec import HubFile, LocalFile
from localserve.catalog.url_files import url_access, url_errors, url_of
from localserve.config import Settings
from localserve.errors import ModelUnusable
from localserve.gguf.facts import GgufFacts, in_order, merge_files
from localserve.gguf.header import Header, parse_file

FETCHES_AT_ONCE: Final = 4
LATER_SHARD_BYTES: Final = 128 << 10
"""What is asked for first of shards but the first one, which have no vocabulary."""

_ON_CUT: Final = "Check the network and run the same command again."


@dataclass(frozen=True, slots=True)
class Headers:
    """The headers of all files of one model, first shard first."""

    files: tuple[Header, ...]
    facts: GgufFacts


def read_local(path: Path) -> Headers:
    """The headers of a file on this disk and of its other shards, which lie beside it.

    Raises: ModelUnusable (not there, not readable), ModelMalformed.
    """
    first = check_file(path)
    return _merged([parse_file(first.with_name(name)) for name in shard_names(first.name)])


def read_headers(
    source: LocalFile | HubFile | UrlFile,
    settings: Settings,
    quantization: str | None = None,
    progress: Progress = lambda count: None,
) -> Headers:
    """The headers of one model: of all its shards, whichever is named.

    `quantization` chooses among a repository's; None takes Q4_K_M, else the one nearest to it.
    Raises: ModelUnusable (offline, not found, no access, connection lost), ModelMalformed.
    """
    match source:
        case LocalFile(path):
            return read_local(path)
        case UrlFile():
            return _read_url(source, settings, progress)
        case HubFile():
            with Repository(source, settings, progress) as hub:
                files = choose_files(source.repo, source, hub.files, quantization)
                return hub.read(files)
        case other:
            assert_never(other)


def read_facts(
    source: LocalFile | HubFile | UrlFile,
    settings: Settings,
    quantization: str | None = None,
    progress: Progress = lambda count: None,
) -> GgufFacts:
    """The facts of `read_headers`."""
    return read_headers(source, settings, quantization, progress).facts


class Repository:
    """One repository as it is now, and a connection to it for as long as the block lasts.

    `files` are what it has; `say` is told each wait for a busy hub.
    """

    def __init__(
        self,
        source: HubFile,
        settings: Settings,
        progress: Progress = lambda count: None,
        say: Callable[[str], object] = lambda text: None,
    ) -> None:
        _check_online(source.repo, settings)
        self._source = source
        self._settings = settings
        self._progress = progress
        self._say = say
        self._cache = _cache(settings)
        self.sibling: Header | None = None

    def __enter__(self) -> Repository:
        import httpx2

        with self._errors():
            self.files = list_files(self._source, self._settings, self._say)
            self._access = hub_access(self._settings)
        self._client = httpx2.Client()
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def read(self, files: Sequence[RemoteFile]) -> Headers:
        """The headers of one model's files. Raises: ModelUnusable, ModelMalformed."""
        _check_shard_count(self._source.repo, len(files))
        with self._errors():
            return _merged(
                [
                    fetch_header(
                        self._client,
                        self._target(file, is_first=index == 0),
                        self._cache,
                        self._progress,
                        self.sibling if index == 0 else None,
                    )
                    for index, file in enumerate(files)
                ]
            )

    def read_all(self) -> Mapping[str, Headers | ModelUnusable]:
        """The headers of every quantization of a repository, a few at a time; or why not.

        The vocabulary is fetched once, where its ends and its length say that all have the same.

        Raises: ModelUnusable, where the repository has no GGUF files.
        """
        offer = offer_of(self._source, self.files)
        if not offer.whole and not offer.broken:
            raise nothing_offered(self._source.repo, self._source, self.files)
        found: dict[str, Headers | ModelUnusable] = {
            quantization: missing_shards(self._source, quantization, missing)
            for quantization, missing in offer.broken.items()
        }
        for quantization in offer.whole:
            if (several := several_models(self._source, quantization, self.files)) is not None:
                found[quantization] = several
        order = by_preference(offer.whole.keys() - found.keys())
        while order and self.sibling is None:  # the first good one helps to read the others
            name = order.pop(0)
            found[name] = self.try_to_read(offer.whole[name])
        with ThreadPoolExecutor(FETCHES_AT_ONCE, "headers") as workers:
            rest = workers.map(self.try_to_read, [offer.whole[name] for name in order])
            found |= zip(order, rest, strict=True)
        return found

    def projector(self) -> RemoteFile | None:
        """The repository's projector for this model, if it has one."""
        offered = next(iter(offer_of(self._source, self.files).whole.values()), None)
        return choose_projector(offered[0], self.files)[0] if offered else None

    def try_to_read(self, files: Sequence[RemoteFile]) -> Headers | ModelUnusable:
        """The headers, or why there are none; the first good ones help to read others."""
        try:
            headers = self.read(files)
        except ModelUnusable as error:
            return error
        self.sibling = self.sibling or headers.files[0]
        return headers

    def _target(self, file: RemoteFile, *, is_first: bool) -> Target:
        endpoint, repo = self._settings.hub_endpoint, self._source.repo
        return Target(
            name=f"{repo}/{file.name}",
            url=file.url,
            access=self._access,
            key=f"{endpoint}/{repo}/{file.name}",
            content_id=file.content_id,
            size_bytes=file.size_bytes,
            first_bytes=self._first_bytes(is_first),
        )

    def _first_bytes(self, is_first: bool) -> int:
        if not is_first:
            return LATER_SHARD_BYTES
        return FIRST_READ_BYTES if self.sibling is None else START_BYTES

    def _errors(self) -> AbstractContextManager[None]:
        return hub_errors(self._source, self._settings, on_cut=_ON_CUT)


def _read_url(source: UrlFile, settings: Settings, progress: Progress) -> Headers:
    import httpx2

    _check_online(source.name, settings)
    names = shard_names(source.name)
    _check_shard_count(source.name, len(names))
    cache = _cache(settings)
    with httpx2.Client() as client, url_errors(source, _ON_CUT):
        return _merged(
            [
                fetch_header(client, _url_target(source, name, settings), cache, progress)
                for name in names
            ]
        )


def _url_target(source: UrlFile, name: str, settings: Settings) -> Target:
    """The file of that name beside the one at the address."""
    url = url_of(source, name)
    return Target(
        name=name,
        url=url,
        access=url_access(url, settings),
        key=url,
        first_bytes=FIRST_READ_BYTES if name == shard_names(name)[0] else LATER_SHARD_BYTES,
    )


def _merged(files: Sequence[Header]) -> Headers:
    """Raises: ModelMalformed, where the files do not belong together."""
    return Headers(tuple(in_order(files)), merge_files(files))


def _cache(settings: Settings) -> HeaderCache:
    return HeaderCache(settings.cache_dir / "headers")


def _check_online(name: str, settings: Settings) -> None:
    if settings.offline:
        hint = "Leave --offline away, or give the path of a .gguf file."
        raise ModelUnusable(f"{name} cannot be looked at without the network.", hint=hint)


def _check_shard_count(name: str, count: int) -> None:
    if count > MAX_SHARDS:
        raise ModelUnusable(
            f"{name} is split into more than {MAX_SHARDS} files; no more are read.",
            hint="Use another conversion of the model.",
        )
