"""Functions of ggml that llama-cpp-python does not bind, looked up in the library that computes."""

from __future__ import annotations

import ctypes
import functools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import llama_cpp
import llama_cpp._ctypes_extensions as ctypes_extensions


def function(name: str, restype: type | None, argtypes: Sequence[type] = ()) -> Callable[..., Any]:
    """One function of ggml, with its C types. Raises: AttributeError if this build has none.

    It is looked up through llama.cpp's own handle: a wheel may hold several copies of ggml's
    libraries under different names, and only the linked one is the one that computes.
    """
    found = _find(name)
    found.restype = restype
    found.argtypes = argtypes
    return found


def _find(name: str) -> Any:
    try:
        return getattr(llama_cpp.llama_cpp._lib, name)
    except AttributeError:  # Windows looks into one library only, but has no copies
        for library in ("ggml", "ggml-base"):
            if hasattr(_load(library), name):
                return getattr(_load(library), name)
        raise


@functools.cache
def _load(library: str) -> ctypes.CDLL:
    folder = pathlib.Path(llama_cpp.__file__).parent / "lib"
    return ctypes_extensions.load_shared_library(library, folder)
