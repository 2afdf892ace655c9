"""What a service runs, as a value: the same `localserve up`, in the same environment. Pure."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from localserve.config import SETTINGS, Settings

NAME: Final = "localserve"

PLACES: Final = ("HF_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
"""Variables that say where folders are, besides the settings' own."""

LIBRARIES: Final = (
    "LD_LIBRARY_PATH",
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "GGML_VK_VISIBLE_DEVICES",
)
"""Variables without which llama.cpp would find other libraries or cards than it does now."""

SECRETS: Final = ("HF_TOKEN",)

END_SECONDS: Final = 20.0
"""What a server takes at most beyond its drain time: ten seconds until it kills its worker."""


@dataclass(frozen=True, slots=True)
class Program:
    """`environment` is what the service has besides its manager's own; `left_out` names variables
    that are set here and are secrets, which no file of a service may hold. `stop_seconds` is how
    long it may take to end."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    stop_seconds: int = 30


def program(options: Sequence[str], settings: Settings, environ: Mapping[str, str]) -> Program:
    """`localserve up OPTIONS` as this Python runs it, in the environment that is set now."""
    secret = {one.variable for one in SETTINGS if one.secret} | set(SECRETS)
    kept = {name: environ[name] for name in (*PLACES, *LIBRARIES) if environ.get(name)}
    for one in SETTINGS:
        text = environ.get(one.variable)
        if text and not one.secret:
            kept[one.variable] = _absolute(text) if one.type is Path else text
    return Program(
        command=(sys.executable, "-P", "-m", NAME, "up", *options),
        environment=dict(sorted(kept.items())),
        left_out=tuple(sorted(name for name in secret if environ.get(name))),
        stop_seconds=round(settings.drain_seconds + END_SECONDS),
    )


def _absolute(text: str) -> str:
    return os.path.abspath(os.path.expanduser(text))
