"""Names as clients of Ollama write them: with `:latest`, which means nothing here. Pure."""

from __future__ import annotations

from typing import Final

LATEST: Final = ":latest"


def without_latest(name: str) -> str:
    """`qwen3:latest` -> `qwen3`; other names as they are."""
    return name.removesuffix(LATEST) or name
