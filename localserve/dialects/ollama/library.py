"""`/api/pull` and `/api/delete`: models brought to this disk and removed from it.

Pure; knows nothing of HTTP and of downloads.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from localserve.dialects.ollama.models import parse_show
from localserve.dialects.schema import WireBody, read_json
from localserve.errors import InvalidRequest

MAX_SOURCE_CHARACTERS = 4096
"""Of what is pulled: a name or an address."""

Source = Annotated[str, Field(max_length=MAX_SOURCE_CHARACTERS)]

SUCCESS = "success"


class PullBody(WireBody):
    """`insecure` needs no field: what is asked of is asked by its own scheme."""

    model: Source | None = None
    name: Source | None = None
    stream: bool | None = None


@dataclass(frozen=True, slots=True)
class AskedPull:
    """What to pull, and whether its progress is told."""

    name: str
    stream: bool


def parse_pull(body: bytes) -> AskedPull:
    """Raises: InvalidRequest, InvalidSchema."""
    pull = read_json(PullBody, body)
    name = (pull.model or pull.name or "").strip()
    if not name:
        raise InvalidRequest("No model is named.", param="model", hint='Send {"model": NAME}.')
    return AskedPull(name, pull.stream is not False)


parse_delete = parse_show
"""The name of the model to delete: the same body."""


def status_line(status: str) -> str:
    """A line of a pull's progress."""
    return json.dumps({"status": status}) + "\n"


def progress_line(digest: str, done_bytes: int, total_bytes: int) -> str:
    """How far a download is; clients add up what has one digest."""
    fields = {
        "status": f"pulling {digest[:12]}",
        "digest": f"sha256:{digest}",
        "total": total_bytes,
        "completed": done_bytes,
    }
    return json.dumps(fields) + "\n"
