"""Refuses files that are no language model or would end llama.cpp, before it sees them.

llama.cpp answers a broken invariant by ending its process. What it refuses politely (a missing
tensor, a wrong shape) is left to it. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from typing import Final

from localserve.errors import ModelMalformed, ModelUnusable
from localserve.gguf.architectures import (
    ARCHITECTURES,
    DIFFUSION,
    KNOWN_AS_OF,
    NEED_A_TARGET,
    SPEECH,
)
from localserve.gguf.contradictions import size_problems
from localserve.gguf.facts import GgufFacts
from localserve.gguf.vocabulary import vocabulary_problems
from localserve.gguf.weights import tensor_problems

_ANOTHER: Final = "Use another conversion of the model."


def check_loadable(facts: GgufFacts) -> None:
    """Raises: ModelUnusable (no language model, or too new an architecture), ModelMalformed."""
    _check_kind(facts)
    _check_architecture(facts)
    problems: Iterator[str] = chain(
        size_problems(facts), tensor_problems(facts), vocabulary_problems(facts)
    )
    for problem in problems:
        raise ModelMalformed(f"{facts.file}: {problem}", hint=_ANOTHER)


def _check_kind(facts: GgufFacts) -> None:
    """Raises: ModelUnusable, where the file is a GGUF and no language model."""
    found = _other_kind(facts)
    if found is None:
        return
    what, hint = found
    raise ModelUnusable(f"{facts.file} is {what}, not a language model.", hint=hint)


def _other_kind(facts: GgufFacts) -> tuple[str, str] | None:
    whole = "Give the .gguf file of the model itself."
    if facts.kind == "adapter" or "adapter.type" in facts.metadata:
        return "an adapter (LoRA)", whole
    if facts.kind in ("mmproj", "projector") or facts.architecture == "clip":
        return "a projector for images or sound (mmproj)", whole
    if facts.kind == "imatrix" or "imatrix.chunk_count" in facts.metadata:
        return "an importance matrix", whole
    if "controlvector.model_hint" in facts.metadata or facts.architecture == "controlvector":
        return "a control vector", whole
    if facts.architecture in SPEECH:
        return f"a model of speech ({facts.architecture})", "localserve serves models of text."
    if facts.architecture in NEED_A_TARGET:
        return f"a draft model ({facts.architecture}) that works only beside another", whole
    if not facts.tensors and facts.tokenizer.n_tokens:
        return "a vocabulary without weights", whole
    if not facts.tensors:
        return "a GGUF file without any tensor", whole
    if facts.tokenizer.model in ("no_vocab", "none"):
        return "a model without a vocabulary", "Its texts cannot be made into tokens here."
    return None


def _check_architecture(facts: GgufFacts) -> None:
    """Raises: ModelUnusable, where the llama.cpp that is installed cannot know it.

    A newer llama.cpp than this module was written for answers for itself: it refuses politely.
    """
    if not facts.architecture:
        raise ModelMalformed(
            f"{facts.file}: general.architecture is missing, so nothing tells what model it is.",
            hint=_ANOTHER,
        )
    if facts.architecture in DIFFUSION:
        raise ModelUnusable(
            f"{facts.file}: a {facts.architecture} model does not write one token after the other,"
            " which is all that localserve does.",
            hint="Use another model; llama.cpp's llama-diffusion-cli runs this one.",
        )
    if facts.architecture in ARCHITECTURES:
        return
    installed = _installed()
    if installed is not None and installed > KNOWN_AS_OF:
        return
    have = ".".join(map(str, installed or KNOWN_AS_OF))
    raise ModelUnusable(
        f"{facts.file}: the architecture {ascii(facts.architecture)[:60]} needs a newer llama.cpp"
        f" than that of llama-cpp-python {have}.",
        hint="`pip install --upgrade llama-cpp-python` may bring it; or use another model.",
    )


def _installed() -> tuple[int, ...] | None:
    try:
        numbers = re.match(r"(\d+)\.(\d+)\.(\d+)", version("llama-cpp-python"))
    except PackageNotFoundError:
        return None
    return tuple(map(int, numbers.groups())) if numbers else None
