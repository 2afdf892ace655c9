"""How a service is, as a value. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class State:
    """What the system's manager says of the service. `path` is its file; `pid` that of its process
    where the manager tells it; `detail` its own words."""

    manager: str
    path: Path
    installed: bool
    running: bool
    starts_at_login: bool
    pid: int | None
    detail: str
