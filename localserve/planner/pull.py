"""What a pull would bring and whether it would run here, before a byte of weights is fetched.

Asks the network for lists of files and for headers; decides, and downloads nothing. Blocking: call
it from a worker thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from localserve.catalog.downloaded import find_downloaded
from localserve.catalog.filenames import (
    BITS_PER_WEIGHT,
    by_preference,
)
from localserve.catalog.finders.record import FoundModel
from localserve.catalog.headers import Headers, Repository, read_headers
from localserve.catalog.hub import choose_files, nothing_offered, offer_of, several_models
from localserve.catalog.locate import repository_folder
from localserve.catalog.package import Package, check_disk, choose_projector
from localserve.catalog.registry import Registry
from localserve.catalog.remote import RemoteFile
from localserve.catalog.sources import HubModel, UrlFile
from localserve.catalog.url_files import list_url_files, url_errors, url_folder
from localserve.catalog.wanted import Wanted, find_same
from localserve.config import Settings
from localserve.gguf.facts import GgufFacts
from localserve.gguf.loadable import check_loadable
from localserve.planner.formula import estimate
from localserve.planner.hardware import Hardware
from localserve.planner.verdict import (
    Room,
    Verdict,
    judge,
    most_room,
    needed_bytes,
    runtime_for,
)

MOST_BITS: Final = 8.5
"""Q8_0: nothing is heard of the difference to F16, which takes twice the memory and time."""

LEAST_BITS: Final = 4.3
"""The class of Q4_K_M begins here: below it, quality goes visibly for the sake of size."""

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to fetch, what the model is, whether it fits; `why` this quantization and projector,
    a line each."""

    package: Package
    facts: GgufFacts
    verdict: Verdict
    why: tuple[str, ...]


def propose(
    wanted: Wanted,
    registry: Registry,
    settings: Settings,
    hardware: Hardware,
    *,
    projector: bool = True,
    copy: bool = False,
    say: Say = lambda text: None,
) -> Proposal | FoundModel:
    """Choose and check what a pull of `wanted` brings; a model of this disk if it is the same.

    With `copy` the disk is not searched. Raises: ModelUnusable (offline, not found, no access, not
    loadable, disk too small), ModelMalformed.
    """
    if isinstance(wanted.remote, UrlFile):
        package, headers, why = _of_url(wanted.remote, settings, say)
    else:
        package, headers, why = _of_hub(wanted, wanted.remote, settings, hardware, projector, say)
    if not copy:
        same = find_same(package, find_downloaded(registry, settings).models)
        if same is not None:
            return same
    check_loadable(headers.facts)
    check_disk(package)
    verdict = judge(headers.facts, hardware, settings, wanted.entry)
    return Proposal(package, headers.facts, verdict, why)


def _of_url(
    source: UrlFile, settings: Settings, say: Say
) -> tuple[Package, Headers, tuple[str, ...]]:
    import httpx2

    headers = read_headers(source, settings)
    on_cut = "Check the network and run the same command again."
    with httpx2.Client() as client, url_errors(source, on_cut):
        files = list_url_files(source, settings, client, say)
    quantization = headers.facts.quantization
    return Package(source, files, url_folder(source, settings), quantization), headers, ()


def _of_hub(
    wanted: Wanted,
    remote: HubModel,
    settings: Settings,
    hardware: Hardware,
    projector: bool,
    say: Say,
) -> tuple[Package, Headers, tuple[str, ...]]:
    source = remote.source
    name = wanted.entry.name if wanted.entry is not None else source.repo.partition("/")[2]
    with Repository(source, settings, say=say) as repository:
        files = repository.files
        if remote.quantization is not None:
            chosen = choose_files(name, source, files, remote.quantization)
            quantization, headers, reason = remote.quantization.upper(), repository.read(chosen), ""
        else:
            offer = offer_of(source, files).whole
            if not offer:
                raise nothing_offered(name, source, files)
            reference = by_preference(offer)[0]
            headers = repository.read(offer[reference])
            rest = _beside_weights(headers.facts, settings, wanted)
            quantization, reason = pick_quantization(_sizes(offer), rest, most_room(hardware))
            chosen = list(offer[quantization])
            if quantization != reference:
                headers = repository.read(chosen)
    if (several := several_models(source, quantization, files)) is not None:
        raise several
    eyes, for_what = choose_projector(chosen[0], files) if projector else (None, "")
    folder = repository_folder(source, settings)
    package = Package(source, tuple(chosen), folder, quantization, eyes)
    why = [f"{quantization}: {reason}"] if reason else []
    why += [f"{eyes.name}: {for_what}"] if eyes is not None else []
    return package, headers, tuple(why)


def _sizes(offer: Mapping[str, tuple[RemoteFile, ...]]) -> dict[str, int]:
    return {name: sum(file.size_bytes for file in files) for name, files in offer.items()}


def _beside_weights(facts: GgufFacts, settings: Settings, wanted: Wanted) -> int:
    """The memory that is not weights, the same for all quantizations."""
    check_loadable(facts)
    usage = estimate(facts, runtime_for(facts, settings, wanted.entry))
    return max(0, needed_bytes(usage) - usage.weights_bytes)


def pick_quantization(sizes: Mapping[str, int], rest_bytes: int, room: Room) -> tuple[str, str]:
    """The quantization for a machine, and why. `sizes` in bytes by name, at least one.

    Where GPUs hold all of it, the largest up to Q8_0 that they do. Else the class of Q4_K_M: in RAM
    every byte more makes each token slower. Where that does not fit, the largest that does.
    """
    if len(sizes) == 1:
        return next(iter(sizes)), ""
    bits = {name: BITS_PER_WEIGHT.get(name.upper(), MOST_BITS + 1) for name in sizes}
    on_gpu = [
        name
        for name, size in sizes.items()
        if size + rest_bytes <= room.gpu_bytes and LEAST_BITS <= bits[name] <= MOST_BITS
    ]
    if on_gpu:
        return max(on_gpu, key=lambda name: (bits[name], sizes[name])), (
            "the best that fits wholly on the GPU"
        )
    usual = by_preference(sizes)[0]
    if sizes[usual] + rest_bytes <= room.total_bytes:
        return usual, "the usual compromise of size and quality, which fits this machine"
    fitting = [name for name, size in sizes.items() if size + rest_bytes <= room.total_bytes]
    if fitting:
        return max(fitting, key=lambda name: sizes[name]), "the largest that fits this machine"
    return min(sizes, key=lambda name: sizes[name]), "the smallest there is"
