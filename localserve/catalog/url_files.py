"""Files at any address: those of one model, how they are asked for, what a refusal means.

Knows nothing of what is in the files. Blocking, where the network is asked.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, urlsplit, urlunsplit

from localserve.catalog.filenames import shard_names
from localserve.catalog.finders.own import HOST_MARK
from localserve.catalog.hub import token_header
from localserve.catalog.patience import Patience
from localserve.catalog.remote import Checksum, RemoteFile
from localserve.catalog.sources import UrlFile
from localserve.catalog.web import Access, Busy, ask, encoding_of, shown
from localserve.config import Settings
from localserve.errors import ModelUnusable

if TYPE_CHECKING:
    import httpx2

_SPAN: Final = re.compile(r"bytes 0-\d{1,19}/(\d{1,19})")
_SIGNATURE: Final = re.compile(
    r"(X-Amz-\w[\w-]*|X-Goog-\w[\w-]*|AWSAccessKeyId|GoogleAccessId|Expires|Signature|Key-Pair-Id"
    r"|Policy)=",
    re.IGNORECASE,
)
"""Parameters of signed addresses. Sources: Amazon S3 (versions 2 and 4), CloudFront, Google Cloud
Storage."""
_SHA256: Final = re.compile(r'"([0-9a-f]{64})"')


def url_of(source: UrlFile, name: str) -> str:
    """The address of the file of that name beside the one at the source's address."""
    if name == source.name:
        return source.url
    parts = urlsplit(source.url)
    folder = parts.path.rsplit("/", 1)[0]
    return urlunsplit(parts._replace(path=f"{folder}/{quote(name)}"))


def url_access(url: str, settings: Settings) -> Access:
    """How a file is asked for: by name only where it is the hub's own."""
    headers = token_header() if is_on_hub(url, settings) else {}
    return Access(_refuse, headers, settings.hub_endpoint)


def is_on_hub(url: str, settings: Settings) -> bool:
    """Whether the address has the hub's own origin."""
    found, hub = urlsplit(url), urlsplit(settings.hub_endpoint)
    return (found.scheme, found.netloc) == (hub.scheme, hub.netloc)


def url_folder(source: UrlFile, settings: Settings) -> Path:
    """Where files of that address lie: a folder for the host, in it one for the rest.

    What a query asks for is a part of that, signatures are not: those of tomorrow differ.
    """
    parts = urlsplit(source.url)
    place = f"{parts.scheme}://{parts.netloc}{parts.path.rsplit('/', 1)[0]}"
    asked = [one for one in parts.query.split("&") if one and not _SIGNATURE.match(one)]
    if asked:
        place += f"?{'&'.join(asked)}"
    digest = hashlib.sha256(place.encode()).hexdigest()[:8]
    host = re.sub(r"[^\w.-]", "_", parts.hostname or "")
    return settings.models_dir / f"{HOST_MARK}{host}" / digest


def check_file_name(source: UrlFile) -> None:
    """Raises: ModelUnusable, where the address does not name a .gguf file."""
    name = source.name
    if (
        name.lower().endswith(".gguf")
        and "/" not in name
        and "\\" not in name
        and name.isprintable()
    ):
        return
    raise ModelUnusable(
        f"{shown(source.url)} is not the address of a .gguf file.",
        hint="Give the address that ends in .gguf, or OWNER/REPOSITORY of the hub.",
    )


def list_url_files(
    source: UrlFile,
    settings: Settings,
    client: httpx2.Client,
    say: Callable[[str], object] = lambda text: None,
) -> tuple[RemoteFile, ...]:
    """The model's files as they are now, first shard first.

    Raises: ModelUnusable, and what `url_errors` translates.
    """
    return tuple(_look(source, name, settings, client, say) for name in shard_names(source.name))


def _look(
    source: UrlFile,
    name: str,
    settings: Settings,
    client: httpx2.Client,
    say: Callable[[str], object],
) -> RemoteFile:
    import httpx2

    url, patience = url_of(source, name), Patience(say)
    access = url_access(url, settings)
    while True:
        try:
            response = ask(client, url, access, {"Range": "bytes=0-0"})
            break
        except (httpx2.TransportError, Busy) as error:
            patience.wait(error)
    response.close()
    size_bytes = _size(response)
    if not size_bytes:
        raise ModelUnusable(
            f"The server of {shown(url)} does not say how large the file is.",
            hint="Download it by hand and give its path.",
        )
    first = response.history[0] if response.history and is_on_hub(url, settings) else response
    linked = _SHA256.fullmatch(first.headers.get("X-Linked-ETag", ""))
    checksum = Checksum("sha256", linked[1]) if linked else None
    # Etags of the machines behind the hub differ; its checksum tells versions apart.
    etag = None if checksum else validator_of(response)
    said = checksum.digest if checksum else f"{etag} {size_bytes}"
    content_id = hashlib.sha256(said.encode()).hexdigest()
    return RemoteFile(
        name, url, size_bytes, content_id, checksum, etag, resumable=bool(etag or checksum)
    )


def validator_of(response: httpx2.Response) -> str | None:
    """What tells this content from another: a strong etag, else the date of its last change."""
    etag = str(response.headers.get("ETag", ""))
    if etag.startswith('"'):
        return etag
    return response.headers.get("Last-Modified") or None


def _size(response: httpx2.Response) -> int | None:
    if encoding_of(response) != "identity":
        return None
    if response.status_code == 206:
        found = _SPAN.fullmatch(response.headers.get("Content-Range", ""))
        return int(found[1]) if found else None
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdecimal() else None


@contextmanager
def url_errors(source: UrlFile, on_cut: str) -> Iterator[None]:
    """Turn what the network refuses into an error; `on_cut` is its hint."""
    import httpx2

    try:
        yield
    except (httpx2.TransportError, httpx2.InvalidURL, UnicodeError) as error:
        raise ModelUnusable(
            f"The connection to {shown(source.url)} failed: {error or type(error).__name__}.",
            hint=on_cut,
        ) from error


def _refuse(response: httpx2.Response) -> None:
    """Raises: ModelUnusable, where the status is an error; with what to do about it."""
    status = response.status_code
    if status in (200, 206):
        return
    hint = "Try again later."
    if status in (401, 403):
        hint = "It wants a login; download the file by hand, or use one on the hub."
    elif status in (404, 410):
        hint = "Check the address."
    elif status == 429:
        hint = "Too many requests; wait a few minutes."
    raise ModelUnusable(f"{shown(str(response.url))} answered with HTTP {status}.", hint=hint)
