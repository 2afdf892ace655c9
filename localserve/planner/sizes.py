"""Amounts of memory as people type and read them. Pure text."""

from __future__ import annotations

import re

from localserve.errors import UsageInvalid

UNITS = {
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "MIB": 1 << 20,
    "GIB": 1 << 30,
    "TIB": 1 << 40,
}
MOST_BYTES = 1 << 50
MOST_GPUS = 16
"""llama.cpp splits a model over at most so many. Source: GGML_CUDA_MAX_DEVICES in ggml-cuda.h."""

_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?) ?([MGT]I?B)", re.IGNORECASE)


def parse_size(text: str, option: str) -> int:
    """Bytes of '24GB' (powers of ten) or '24GiB' (powers of two). Raises: UsageInvalid."""
    found = _SIZE.fullmatch(text.strip())
    size = round(float(found[1]) * UNITS.get(found[2].upper(), 0)) if found else 0
    if not 0 < size <= MOST_BYTES:
        raise UsageInvalid(
            f"{option} is {text!r}; it must be a size with its unit.",
            hint=f"Such as {option} 24GB, {option} 7.5GiB or {option} 512MiB.",
        )
    return size


def parse_sizes(text: str, option: str) -> tuple[int, ...]:
    """The sizes in a list that commas part, one for each GPU. Raises: UsageInvalid."""
    sizes = tuple(parse_size(part, option) for part in text.split(","))
    if len(sizes) > MOST_GPUS:
        raise UsageInvalid(f"{option} lists {len(sizes)} GPUs; {MOST_GPUS} are the most.")
    return sizes


def memory_text(size_bytes: int) -> str:
    """Such as '512 MiB' or '23.5 GiB' (powers of two)."""
    if size_bytes < 1 << 30:
        return f"{size_bytes / 2**20:.0f} MiB"
    return f"{size_bytes / 2**30:.1f} GiB"
