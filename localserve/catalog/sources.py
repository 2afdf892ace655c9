"""What a user typed that is not on this disk: a repository of the hub, or an address.

Pure text; asks nothing of the network. Any thread.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from glob import escape
from typing import Final
from urllib.parse import unquote, urlsplit

from localserve.catalog.filenames import without_shard
from localserve.catalog.spec import HubFile

_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_QUANTIZATION: Final = re.compile(r"[A-Za-z0-9][\w.-]*")
_HUB_HOSTS: Final = ("huggingface.co", "hf.co", "www.huggingface.co")
_HUB_PREFIXES: Final = (*(f"{host}/" for host in _HUB_HOSTS), "hf:")
_LONGEST: Final = 4096


@dataclass(frozen=True, slots=True)
class HubModel:
    """A model of a repository; `quantization` None leaves the choice open."""

    source: HubFile
    quantization: str | None = None


@dataclass(frozen=True, slots=True)
class UrlFile:
    """A GGUF file at any address; of a split model any shard."""

    url: str

    @property
    def name(self) -> str:
        """The file's name, without secrets that the address may carry."""
        return unquote(urlsplit(self.url).path.rsplit("/", 1)[-1]) or "model.gguf"


RemoteModel = HubModel | UrlFile


def parse_remote(text: str, hub_endpoint: str = "https://huggingface.co") -> RemoteModel | None:
    """What `text` names; None where it has no such form.

    Forms: `OWNER/REPO`, `OWNER/REPO:QUANTIZATION`, the same after `hf.co/`, `huggingface.co/` or
    `hf:`; the address of a repository or of a file on the hub, and any other http(s) address.
    `OWNER/REPO` may be a path as well: ask the disk first.
    """
    if len(text) > _LONGEST or any(c.isspace() or not c.isprintable() for c in text):
        return None
    scheme, separator, rest = text.partition("://")
    if separator:
        if scheme.lower() not in ("http", "https") or not rest:
            return None
        return _address(text, hub_endpoint)
    for prefix in _HUB_PREFIXES:
        if text.lower().startswith(prefix):
            return _repository(text[len(prefix) :])
    return _repository(text)


def _address(text: str, hub_endpoint: str) -> RemoteModel | None:
    """A page or file of the hub, else a file somewhere."""
    try:
        found, hub = urlsplit(text), urlsplit(hub_endpoint)
        on_hub = found.netloc == hub.netloc or found.hostname in _HUB_HOSTS
    except ValueError:  # a port that is no number, a broken IPv6 address
        return None
    if not found.hostname:
        return None
    path = unquote(found.path).strip("/")
    if not on_hub or found.query:
        return UrlFile(text)
    parts = path.split("/")
    if len(parts) <= 2:
        return _repository(path)
    whole_file = len(parts) > 4 and parts[2] in ("resolve", "blob") and parts[3] == "main"
    if whole_file and _REPOSITORY.fullmatch("/".join(parts[:2])):
        file = escape(without_shard("/".join(parts[4:])))  # a pattern of that name alone
        return HubModel(HubFile("/".join(parts[:2]), file))
    return UrlFile(text.replace("/blob/", "/resolve/", 1))


def _repository(text: str) -> HubModel | None:
    repo, colon, quantization = text.rstrip("/").partition(":")
    if not _REPOSITORY.fullmatch(repo) or repo.lower().endswith(".gguf"):
        return None
    if colon and not _QUANTIZATION.fullmatch(quantization):
        return None
    return HubModel(HubFile(repo), quantization or None)
