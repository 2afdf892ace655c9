"""Headers -> files that look whole to llama.cpp and hold nothing: holes where the weights were.

Serves dry runs, which load the header and never read data. Such a file must never be mistaken for a
model: keep it in a folder of its own and remove it afterwards. Blocking.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from localserve.errors import ModelUnusable
from localserve.gguf.header import Header


def write_hollow(headers: Sequence[Header], folder: Path) -> Path:
    """Write sparse files of the real sizes into `folder`; the path to load, shards named in order.

    Raises: ModelUnusable, where the disk cannot hold them: a file system without holes would be
    filled with zeros, which this never does.
    """
    paths = [folder / _name(index, len(headers)) for index in range(len(headers))]
    try:
        for header, path in zip(headers, paths, strict=True):
            with path.open("wb") as stream:
                stream.write(header.raw)
                stream.truncate(max(header.size_bytes, len(header.raw)))
    except OSError as error:
        for path in paths:
            path.unlink(missing_ok=True)
        raise ModelUnusable(
            f"A copy of the header of {headers[0].name} cannot be written into {folder}:"
            f" {error.strerror or error}.",
            hint="Its file system must have room and know files with holes.",
        ) from error
    return paths[0]


def _name(index: int, count: int) -> str:
    """The name that llama.cpp looks for. Source: llama_split_path in llama.cpp."""
    return "hollow.gguf" if count == 1 else f"hollow-{index + 1:05}-of-{count:05}.gguf"
