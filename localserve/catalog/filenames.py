"""What the names of GGUF files say: the quantization, and which shard of how many it is.

Pure text; knows nothing of disks and hubs. Any thread.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Final

from localserve.catalog.spec import HubFile

BITS_PER_WEIGHT: Final = {
    "Q1_0": 1.1,
    "IQ1_S": 1.6,
    "TQ1_0": 1.7,
    "IQ1_M": 1.8,
    "TQ2_0": 2.1,
    "IQ2_XXS": 2.1,
    "Q2_0": 2.25,
    "IQ2_XS": 2.3,
    "IQ2_S": 2.5,
    "IQ2_M": 2.7,
    "Q2_K_S": 2.8,
    "Q2_K": 3.0,
    "Q2_K_L": 3.1,
    "IQ3_XXS": 3.1,
    "Q2_K_XL": 3.2,
    "IQ3_XS": 3.3,
    "IQ3_S": 3.4,
    "Q3_K_S": 3.5,
    "IQ3_M": 3.7,
    "Q3_K": 3.9,
    "Q3_K_M": 3.9,
    "Q3_K_XL": 4.1,
    "Q3_K_L": 4.3,
    "IQ4_XS": 4.3,
    "MXFP4": 4.4,
    "MXFP4_MOE": 4.4,
    "IQ4_NL": 4.5,
    "NVFP4": 4.5,
    "Q4_0": 4.6,
    "Q4_K_S": 4.6,
    "Q4_K": 4.85,
    "Q4_K_M": 4.85,
    "Q4_K_XL": 4.95,
    "Q4_K_L": 5.0,
    "Q4_1": 5.1,
    "Q5_0": 5.5,
    "Q5_K_S": 5.5,
    "Q5_K": 5.7,
    "Q5_K_M": 5.7,
    "Q5_K_XL": 5.75,
    "Q5_K_L": 5.8,
    "Q5_1": 6.0,
    "Q6_K": 6.6,
    "Q6_K_L": 6.7,
    "Q6_K_XL": 7.0,
    "Q8_0": 8.5,
    "Q8_K_XL": 10.0,
    "F16": 16.0,
    "BF16": 16.0,
    "F32": 32.0,
}
"""About how many bits a weight takes in each quantization, small to large."""

DEFAULT_QUANTIZATION: Final = "Q4_K_M"

MAX_SHARDS: Final = 512
"""A model of more files is not read."""

_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?=\.gguf$)", re.IGNORECASE)
_QUANTIZATION = re.compile(
    rf"(?<![A-Za-z0-9])(FP16|{'|'.join(sorted(BITS_PER_WEIGHT, key=len, reverse=True))})"
    r"(?![A-Za-z0-9_])",
    re.IGNORECASE,
)


def quantization_of(filename: str) -> str | None:
    """The quantization that a file name (or its folder) speaks of; the last one it names."""
    found = _QUANTIZATION.findall(filename)
    return str(found[-1]).upper().replace("FP16", "F16") if found else None


def by_preference(quantizations: Iterable[str], wanted: str | None = None) -> list[str]:
    """The wanted quantization first (else Q4_K_M), then the others by how near their size is.

    Of two that are as near the larger comes first; names without a known size come last.
    """
    exact = (wanted or DEFAULT_QUANTIZATION).upper()
    target = BITS_PER_WEIGHT.get(exact, BITS_PER_WEIGHT[DEFAULT_QUANTIZATION])

    def distance(name: str) -> tuple[bool, float, float, str]:
        bits = BITS_PER_WEIGHT.get(name.upper(), 1000.0)
        return name.upper() != exact, abs(bits - target), -bits, name

    return sorted(quantizations, key=distance)


def shard_of(filename: str) -> tuple[int, int] | None:
    """(this shard, all shards), counted from 1, or None for a file that is whole."""
    found = _SHARD.search(filename)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        return None
    return int(found[1]), int(found[2])


def without_shard(filename: str) -> str:
    """The file name without its shard suffix."""
    return _SHARD.sub("", filename) if shard_of(filename) else filename


def name_of_file(filename: str) -> str:
    """What the model of such a file is called: without `.gguf` and the shard's number."""
    name = without_shard(filename)
    return as_text(name[: -len(".gguf")] if name.lower().endswith(".gguf") else name)


def as_text(name: str) -> str:
    """A name of this disk that can be sent and shown: bytes that are no UTF-8 become U+FFFD."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def shard_names(filename: str) -> tuple[str, ...]:
    """All files that belong to this one, first shard first; itself if it is whole.

    Of more than MAX_SHARDS, which a name alone may claim, the first that show that they are.
    """
    shard = shard_of(filename)
    if shard is None:
        return (filename,)
    numbers = range(1, min(shard[1], MAX_SHARDS + 1) + 1)
    return tuple(_SHARD.sub(f"-{number:05}-of-{shard[1]:05}", filename) for number in numbers)


def is_path(text: str) -> bool:
    """Whether what was typed means a file, and not a name: `./name` does."""
    separators = tuple(separator for separator in (os.sep, os.altsep) if separator)
    return (
        text.lower().endswith(".gguf")
        or text in (".", "..")
        or text.startswith(
            ("~", *separators, *(f".{s}" for s in separators), *(f"..{s}" for s in separators))
        )
    )


def is_model_file(filename: str) -> bool:
    """Whether the name is that of a model's weights: no projector, no importance matrix."""
    stem = filename.rsplit("/", 1)[-1].lower()
    return stem.endswith(".gguf") and "mmproj" not in stem and not stem.startswith("imatrix")


def is_projector(filename: str) -> bool:
    """Whether the name is that of a projector, which sees or hears for a model."""
    stem = filename.rsplit("/", 1)[-1].lower()
    return stem.endswith(".gguf") and "mmproj" in stem


def files_by_quantization(source: HubFile, filenames: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Which of a repository's files make up the model, by quantization, first shard first.

    Shards that are not among `filenames` are listed all the same: they belong to the model. Of
    several models in one quantization it is the one in the fewest folders, then the first. A file
    that names no quantization counts, as the quantization "", only if it is the only model.
    """
    found: dict[str, tuple[str, ...]] = {}
    nameless: set[tuple[str, ...]] = set()
    for filename in sorted(filenames, key=lambda name: (name.count("/"), name)):
        quantization = quantization_of(filename)
        if not is_model_file(filename) or not _matches(source.pattern, filename, quantization):
            continue
        if quantization is None:
            nameless.add(shard_names(filename))
        else:
            found.setdefault(quantization, shard_names(filename))
    if not found and len(nameless) == 1:
        found[""] = nameless.pop()
    return found


def _matches(pattern: str | None, filename: str, quantization: str | None) -> bool:
    if pattern is None:
        return True
    wanted = pattern.lower().replace("{quantization}", (quantization or "").lower())
    name = without_shard(filename).lower()
    return fnmatchcase(name.replace("fp16", "f16"), wanted.replace("fp16", "f16"))
