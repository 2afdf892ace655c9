"""The hub: which files a repository has, what they are called, and what a refusal means.

The hub's library gives addresses, tokens and the meaning of refusals; it is slow to import and is
imported when the hub is first asked. Knows nothing of what is in the files. Blocking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from localserve.catalog.filenames import (
    by_preference,
    files_by_quantization,
    is_model_file,
    quantization_of,
    without_shard,
)
from localserve.catalog.patience import Patience
from localserve.catalog.remote import Checksum, RemoteFile
from localserve.catalog.spec import HubFile
from localserve.catalog.web import (
    BUSY_STATUSES,
    READ_SECONDS,
    Access,
    Busy,
    retry_after_seconds,
)
from localserve.config import Settings
from localserve.errors import ModelUnusable

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo, RepoSibling


def list_files(
    source: HubFile, settings: Settings, say: Callable[[str], object] = lambda text: None
) -> list[RemoteFile]:
    """All files of the repository as it is now. Raises: what `hub_errors` translates."""
    import httpx2
    from huggingface_hub import hf_hub_url

    patience, endpoint = Patience(say), settings.hub_endpoint
    while True:
        try:
            info = _ask_for(source, settings)
            break
        except (httpx2.TransportError, Busy) as error:
            patience.wait(error)
    files = []
    for found in info.siblings or ():
        path = PurePosixPath(found.rfilename)
        if path.is_absolute() or ".." in path.parts or "\\" in found.rfilename or not found.size:
            continue
        url = hf_hub_url(source.repo, found.rfilename, revision=info.sha, endpoint=endpoint)
        checksum = _checksum(found)
        content_id = checksum.digest if checksum else str(found.size)
        files.append(RemoteFile(found.rfilename, url, found.size, content_id, checksum))
    return files


def _ask_for(source: HubFile, settings: Settings) -> ModelInfo:
    """Raises: Busy, and what the library raises."""
    from huggingface_hub import HfApi, errors

    api = HfApi(endpoint=settings.hub_endpoint, library_name="localserve")
    try:
        return api.model_info(source.repo, files_metadata=True, timeout=READ_SECONDS)
    except errors.HfHubHTTPError as error:
        response = error.response
        if response.status_code not in BUSY_STATUSES:
            raise
        seconds = retry_after_seconds(response.headers)
        raise Busy(response.status_code, error, seconds) from error


def _checksum(found: RepoSibling) -> Checksum | None:
    """What the hub says of a file's bytes: of large ones their SHA-256, of others git's name."""
    if found.lfs:
        return Checksum("sha256", str(found.lfs.sha256).lower())
    return Checksum("git-sha1", str(found.blob_id).lower()) if found.blob_id else None


@dataclass(frozen=True, slots=True)
class Offer:
    """The quantizations of a model in a repository, first shard first.

    `broken` ones lack files: the names of those that the repository does not have.
    """

    whole: Mapping[str, tuple[RemoteFile, ...]]
    broken: Mapping[str, tuple[str, ...]]


def offer_of(source: HubFile, files: Sequence[RemoteFile]) -> Offer:
    """Group a repository's files by quantization, in whatever folders they lie."""
    by_name = {file.name: file for file in files}
    whole, broken = {}, {}
    for quantization, names in files_by_quantization(source, by_name).items():
        missing = tuple(name for name in names if name not in by_name)
        if missing:
            broken[quantization] = missing
        else:
            whole[quantization] = tuple(by_name[name] for name in names)
    return Offer(whole, broken)


def choose_files(
    name: str, source: HubFile, files: Sequence[RemoteFile], quantization: str | None
) -> list[RemoteFile]:
    """The files of the quantization that was asked for, first shard first.

    None takes Q4_K_M, else the one nearest to it in size. Raises: ModelUnusable.
    """
    offer = offer_of(source, files)
    if quantization is not None:
        for broken, missing in offer.broken.items():
            if broken.upper() == quantization.upper():
                raise missing_shards(source, broken, missing)
    if not offer.whole:
        raise nothing_offered(name, source, files)
    best = by_preference(offer.whole, quantization)[0]
    if quantization is not None and best.upper() != quantization.upper():
        have = ", ".join(sorted(offer.whole))
        raise ModelUnusable(
            f"The repository {source.repo} has no {quantization} of {name!r}.",
            hint=f"It has {have}.",
        )
    return list(offer.whole[best])


def nothing_offered(name: str, source: HubFile, files: Sequence[RemoteFile]) -> ModelUnusable:
    """The error for a repository without GGUF files of that model."""
    ggufs = [file.name for file in files if file.name.lower().endswith(".gguf")]
    if ggufs and source.pattern is not None:
        wanted = source.pattern.replace("{quantization}", "")
        near = get_close_matches(wanted, ggufs, n=4, cutoff=0.2) or sorted(ggufs)[:4]
        hint = f"It has {', '.join(near)}" + (" and others." if len(ggufs) > len(near) else ".")
    elif ggufs:
        hint = f"It has {len(files)} files; say which with 'pattern' in models.toml."
    else:
        hint = f"It has {len(files)} files, none a .gguf; look for a repository NAME-GGUF."
    return ModelUnusable(
        f"The repository {source.repo} has no GGUF file for {name!r}.",
        hint=hint,
    )


def several_models(
    source: HubFile, quantization: str, files: Sequence[RemoteFile]
) -> ModelUnusable | None:
    """The error for a quantization of which the repository has several models, if it has.

    As `files_by_quantization` does, it looks at those only that lie in the fewest folders.
    """
    if source.pattern is not None:
        return None
    same = {
        without_shard(file.name): file
        for file in files
        if is_model_file(file.name) and (quantization_of(file.name) or "") == quantization
    }
    fewest = min((name.count("/") for name in same), default=0)
    names = sorted(name for name in same if name.count("/") == fewest)
    if len(names) < 2:
        return None
    listed = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
    address = same[names[0]].url.rsplit("/resolve/", 1)[0]
    return ModelUnusable(
        f"The repository {source.repo} has {len(names)} models of {quantization}: {listed}.",
        hint=f"Give the address of one: {address}/resolve/main/FILE",
    )


def missing_shards(source: HubFile, quantization: str, missing: Sequence[str]) -> ModelUnusable:
    """The error for a quantization that the repository has only a part of."""
    listed = ", ".join(missing[:5]) + (" and more" if len(missing) > 5 else "")
    return ModelUnusable(
        f"The repository {source.repo} has not all files of {quantization}; missing: {listed}.",
        hint="Take another quantization, or another repository of the model.",
    )


def token_header() -> dict[str, str]:
    """The header that says who asks the hub; empty for a stranger."""
    from huggingface_hub import get_token

    token = get_token()
    return {"Authorization": f"Bearer {token}"} if token else {}


def hub_access(settings: Settings) -> Access:
    """How files of the hub are asked for."""
    from huggingface_hub import hf_raise_for_status

    return Access(hf_raise_for_status, token_header(), settings.hub_endpoint)


@contextmanager
def hub_errors(source: HubFile, settings: Settings, *, on_cut: str) -> Iterator[None]:
    """Turn what the hub and the network refuse into what the user can do about it.

    `on_cut` is the hint for a connection that failed.
    """
    import httpx2
    from huggingface_hub import errors

    page = f"{settings.hub_endpoint}/{source.repo}"
    access = "set HF_TOKEN to a token of an account with access (or run `hf auth login`)."
    try:
        yield
    except errors.GatedRepoError as error:
        raise ModelUnusable(
            f"The repository {source.repo} gives its files only to those who accepted its terms.",
            hint=f"Accept them at {page}, then {access}",
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise ModelUnusable(
            f"The hub has no repository {source.repo}, or it is private.",
            hint=f"Check {page}; if it is private, {access}",
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        hint = "Try again later."
        if status in (401, 403):
            hint = access[0].upper() + access[1:]
        elif status == 429:
            hint = (
                "Too many requests; wait a few minutes. A token (`hf auth login`) raises the limit."
            )
        raise ModelUnusable(f"{page} answered with HTTP {status}.", hint=hint) from error
    except ValueError as error:
        raise ModelUnusable(
            f"{page} did not answer as a hub does: {error}",
            hint="Check HF_ENDPOINT and the network's proxy, and that 'repo' is OWNER/NAME.",
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise ModelUnusable(
            f"{source.repo} cannot be asked for: HF_HUB_OFFLINE is set.", hint="Unset it."
        ) from error
    except httpx2.TransportError as error:
        raise ModelUnusable(
            f"The connection to {settings.hub_endpoint} failed: {error or type(error).__name__}.",
            hint=on_cut,
        ) from error
