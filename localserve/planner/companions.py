"""What lies in memory beside a model: a projector (mmproj) that sees or hears for it, a small model
(draft) that guesses for it.

Both lie on the first GPU wherever layers of the model lie on one, else in RAM. What they take is
computed from their headers: weights and cache exactly, compute buffers by an estimate. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from localserve.errors import ModelUnusable
from localserve.gguf.facts import GgufFacts
from localserve.gguf.loadable import check_loadable
from localserve.gguf.tokenizer import TOKENS
from localserve.planner.formula import estimate, vocabulary
from localserve.planner.runtime import Runtime
from localserve.planner.usage import RAM, Beside, CompanionKind, DeviceUsage, MemoryUsage

DYNAMIC_SIDE: Final = 46
"""Tokens along each side of the image for which llama.cpp reserves where pictures keep their size.
Source: set_warmup_n_tokens in clip.cpp."""

DEFAULT_IMAGE_SIZE: Final = 1024
"""Pixels along each side where the file says nothing."""

AUDIO_POSITIONS: Final = 3000
"""Frames of 30 seconds of sound, the most that an encoder gets at once."""

VOCABULARY_DIFFERENCE: Final = 128
"""So many tokens more or fewer than the model a draft may know. Source: speculative.cpp."""

FIRST_COMPARED_TOKEN: Final = 5
"""Those before it may differ: they mark beginnings and ends. Source: speculative.cpp."""


@dataclass(frozen=True, slots=True)
class Companion:
    """A file that is to be loaded beside a model."""

    kind: CompanionKind
    facts: GgufFacts = field(repr=False)


def projector_of(facts: GgufFacts) -> Companion:
    """A companion of such a file.

    Raises: ModelUnusable, where it is no projector; ModelMalformed, where its sizes are none.
    """
    if facts.kind not in ("mmproj", "projector") and facts.architecture != "clip":
        raise ModelUnusable(
            f"{facts.file} is not a projector (mmproj).",
            hint="Its general.architecture would be clip.",
        )
    projector_compute_bytes(facts)
    return Companion("mmproj", facts)


def draft_for(facts: GgufFacts, model: GgufFacts) -> Companion:
    """A companion of such a file that guesses for `model`.

    Raises: ModelUnusable, where it cannot be loaded, its tokens are others, or guesses could not be
    taken back.
    """
    check_loadable(facts)
    difference = _vocabulary_difference(facts, model)
    if difference is not None:
        own, its = vocabulary(facts), vocabulary(model)
        raise ModelUnusable(
            f"{facts.file} ({own} tokens) cannot guess for {model.file} ({its} tokens): their"
            f" vocabularies differ{difference}.",
            hint="Take a smaller model of the same family.",
        )
    for one in (model, facts):
        if not one.hyperparameters.can_be_cut:
            raise ModelUnusable(
                f"{facts.file} cannot guess for {model.file}: what {one.file} ({one.architecture})"
                " has computed cannot be cut where a guess was wrong, for it has sliding windows or"
                " recurrent layers.",
                hint="Leave the draft away, or take models with ordinary attention.",
            )
    return Companion("draft", facts)


def _vocabulary_difference(facts: GgufFacts, model: GgufFacts) -> str | None:
    """In which token two vocabularies differ, as the end of a sentence; None where they do not."""
    kinds = facts.tokenizer.model, model.tokenizer.model
    if kinds[0] != kinds[1]:
        return f": they are of the kinds {kinds[0]!r} and {kinds[1]!r}"
    if abs(vocabulary(facts) - vocabulary(model)) > VOCABULARY_DIFFERENCE:
        return ""
    words = (one.metadata.byte_strings(TOKENS) for one in (facts, model))
    both = zip(*words, strict=False)  # the larger one has more
    for number, (own, its) in enumerate(both):
        if own != its and number >= FIRST_COMPARED_TOKEN:
            words = (word.decode("utf-8", "replace")[:40] for word in (own, its))
            return ": token {} is {!r} and {!r}".format(number, *words)
    return None


def runtime_of_draft(runtime: Runtime) -> Runtime:
    """How the draft of a model so run is run: as many tokens of as many sequences, and all of it on
    the first GPU wherever the model has layers on one."""
    on_gpu = runtime.gpu_layers != 0
    return replace(
        runtime,
        gpu_layers=None if on_gpu else 0,
        cpu_expert_layers=0,
        tensor_split=(1.0,) if on_gpu else (),
        guess_tokens=0,
    )


def with_companions(
    usage: MemoryUsage, companions: Sequence[Companion], runtime: Runtime, gpus: Sequence[str]
) -> MemoryUsage:
    """The usage of a model so run with that of its companions beside it."""
    home = gpus[:1] if runtime.gpu_layers != 0 else ()
    return replace(usage, beside=tuple(_beside(one, runtime, home) for one in companions))


def _beside(companion: Companion, runtime: Runtime, gpus: Sequence[str]) -> Beside:
    facts = companion.facts
    if companion.kind == "draft":
        usage = estimate(facts, runtime_of_draft(runtime), gpus)
        return Beside("draft", usage.devices, usage.output_bytes)
    device = gpus[0] if gpus else RAM
    taken = DeviceUsage(device, facts.weights_bytes, 0, projector_compute_bytes(facts))
    return Beside("mmproj", (taken,))


def projector_compute_bytes(facts: GgufFacts) -> int:
    """The compute buffers of a projector with flash attention: for each patch of the largest image
    (or frame of sound) the widest part of a layer, and what lives beside that. An estimate."""
    return sum(4 * count * most for count, most in _encoders(facts))


def _encoders(facts: GgufFacts) -> Iterator[tuple[int, int]]:
    """Of each encoder, how many patches it gets and how many numbers it holds for each."""
    for kind in ("vision", "audio"):
        width = facts.metadata.integer(f"clip.{kind}.embedding_length") or 0
        inner = facts.metadata.integer(f"clip.{kind}.feed_forward_length") or 0
        if width:
            count = _patches(facts) if kind == "vision" else AUDIO_POSITIONS
            yield count, inner + 3 * width


def _patches(facts: GgufFacts) -> int:
    """The patches of the largest image that is looked at in one piece."""
    numbers = facts.metadata
    patch = max(1, numbers.integer("clip.vision.patch_size") or 14)
    if pixels := numbers.integer("clip.vision.image_max_pixels"):
        return pixels // patch**2
    side = (numbers.integer("clip.vision.image_size") or DEFAULT_IMAGE_SIZE) // patch
    if merge := numbers.integer("clip.vision.spatial_merge_size"):
        side = max(side, DYNAMIC_SIDE * merge)
    return side**2
