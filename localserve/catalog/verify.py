"""models.toml's numbers held against the hub: bytes of every quantization, shape of the model.

Blocking: a listing and one header for each entry.
"""

from __future__ import annotations

from collections.abc import Iterator

from localserve.catalog.filenames import by_preference
from localserve.catalog.headers import read_facts
from localserve.catalog.hub import hub_errors, list_files, offer_of
from localserve.catalog.spec import HubFile, ModelSpec, Shape
from localserve.config import Settings
from localserve.gguf.facts import GgufFacts

ON_CUT = "Check the network and run the same command again."


def differences(spec: ModelSpec, source: HubFile, settings: Settings) -> Iterator[str]:
    """One line for each number of the entry that the hub says otherwise.

    Raises: ModelUnusable, where the repository cannot be had.
    """
    with hub_errors(source, settings, on_cut=ON_CUT):
        files = list_files(source, settings)
    offer = offer_of(source, files)
    for name, size in spec.quantizations.items():
        if name not in offer.whole:
            have = ", ".join(sorted(offer.whole)) or "none"
            yield f"{name} is not in the repository, which has {have}"
        elif (there := sum(file.size_bytes for file in offer.whole[name])) != size:
            yield f"{name} has {there} bytes, not {size}"
    if spec.shape is not None and offer.whole:
        facts = read_facts(source, settings, by_preference(offer.whole)[0])
        yield from _shape_differences(spec.shape, facts)


def _shape_differences(shape: Shape, facts: GgufFacts) -> Iterator[str]:
    sizes, attention = facts.hyperparameters, facts.hyperparameters.attention
    words = facts.tensor("token_embd.weight")
    really = {
        "parameters": (shape.parameters, facts.parameters),
        "layers": (shape.layers, sizes.layers),
        "embedding_length": (shape.embedding_length, sizes.embedding_length),
        "heads": (shape.heads, max(attention.heads_per_layer, default=0)),
        "kv_heads": (shape.kv_heads, max(attention.kv_heads_per_layer, default=0)),
        "head_size": (shape.head_size, attention.key_length),
        "vocabulary": (shape.vocabulary, words.shape[1] if words is not None else None),
        "trained_context": (shape.trained_context_tokens, sizes.context_length),
    }
    for name, (ours, theirs) in really.items():
        if ours != theirs:
            yield f"{name} is {theirs}, not {ours}"
