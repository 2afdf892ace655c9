"""The sizes of a model as its file gives them, with llama.cpp's defaults where it is silent.

Reads what is written and judges nothing; `loadable` does. Pure. Source: llama-model.cpp
(load_hparams) and src/models/ of llama.cpp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

from localserve.gguf.architectures import (
    FULL_ATTENTION_INTERVAL,
    HYBRID,
    RECURRENT,
    WINDOW_LISTED,
    WINDOWS,
)
from localserve.gguf.metadata import Array, Metadata

MAX_LAYERS = 512
"""More make llama.cpp abort; no array per layer is made for more. Source: llama-hparams.h."""


@dataclass(frozen=True, slots=True)
class Attention:
    """Sizes of attention. Tuples have one element per layer; lengths count numbers per head.

    `windowed` says which layers see only the last `sliding_window` tokens (None: no window).
    With `latent` attention (MLA) the cache holds `key_length` numbers per token and no values;
    heads as computed are `key_length_mla` and `value_length_mla` long.
    """

    heads_per_layer: tuple[int, ...]
    kv_heads_per_layer: tuple[int, ...]
    key_length: int
    value_length: int
    key_length_windowed: int
    value_length_windowed: int
    sliding_window: int | None
    windowed: tuple[bool, ...]
    causal: bool
    kv_lora_rank: int | None
    key_length_mla: int | None
    value_length_mla: int | None
    shared_kv_layers: int

    def heads(self, layer: int) -> int:
        """The query heads of a layer."""
        return self.heads_per_layer[layer]

    def kv_heads(self, layer: int) -> int:
        """The key and value heads of a layer; 0 where it has no cache."""
        return self.kv_heads_per_layer[layer]

    @property
    def latent(self) -> bool:
        return bool(self.key_length_mla and self.value_length_mla)


@dataclass(frozen=True, slots=True)
class Experts:
    """A mixture of experts: a token uses `used` of `count`, and all `shared` ones."""

    count: int
    used: int
    shared: int
    groups: int
    groups_used: int
    feed_forward_length: int | None


@dataclass(frozen=True, slots=True)
class Recurrence:
    """Layers with a state of fixed size. `layers` says which ones; sizes are 0 where unused.

    Mamba kinds use the first five sizes, RWKV `wkv_head_size` and `token_shift_count`, LFM2
    `shortconv_length`, delta attention `kda_head_size`.
    """

    layers: tuple[bool, ...]
    conv_kernel: int
    inner_size: int
    state_size: int
    time_step_rank: int
    group_count: int
    wkv_head_size: int
    token_shift_count: int
    shortconv_length: int
    kda_head_size: int


@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary positions. `scaling` is "none", "linear", "yarn", "longrope" or what the file says."""

    dimension_count: int | None
    scaling: str
    factor: float | None


@dataclass(frozen=True, slots=True)
class Hyperparameters:
    """All sizes. `layers` counts the repeating blocks, `next_token_layers` of which only predict
    further tokens (MTP). None, and 0 in `attention` and `feed_forward_lengths`, mean that the file
    does not say."""

    context_length: int | None
    embedding_length: int | None
    layers: int
    next_token_layers: int
    feed_forward_lengths: tuple[int, ...]
    vocabulary: int | None
    attention: Attention
    experts: Experts | None
    recurrence: Recurrence | None
    rope: Rope
    pooling_type: int | None

    @property
    def can_be_cut(self) -> bool:
        """Whether what is computed of a text can be shortened by its last few tokens."""
        return self.recurrence is None and self.attention.sliding_window is None


def read_hyperparameters(metadata: Metadata, architecture: str) -> Hyperparameters:
    """Raises: ModelMalformed, where a value has the wrong type or an array the wrong length."""
    keys = _Keys(metadata, architecture)
    layers = min(keys.integer("block_count", 0), MAX_LAYERS)
    recurrence = _recurrence(keys, layers)
    embedding = keys.integer("embedding_length")
    return Hyperparameters(
        context_length=keys.integer("context_length"),
        embedding_length=embedding,
        layers=keys.integer("block_count", 0),
        next_token_layers=keys.integer("nextn_predict_layers", 0),
        feed_forward_lengths=keys.per_layer("feed_forward_length", layers) or (0,) * layers,
        vocabulary=keys.integer("vocab_size"),
        attention=_attention(keys, layers, embedding or 0, recurrence),
        experts=_experts(keys, layers),
        recurrence=recurrence,
        rope=_rope(keys),
        pooling_type=keys.integer("pooling_type"),
    )


@dataclass(frozen=True, slots=True)
class _Keys:
    """The keys that begin with the architecture's name, without it."""

    metadata: Metadata
    architecture: str

    def key(self, name: str) -> str:
        return f"{self.architecture}.{name}"

    @overload
    def integer(self, name: str) -> int | None: ...

    @overload
    def integer(self, name: str, default: int) -> int: ...

    def integer(self, name: str, default: int | None = None) -> int | None:
        value = self.metadata.integer(self.key(name))
        return default if value is None else value

    def number(self, name: str) -> float | None:
        return self.metadata.number(self.key(name))

    def per_layer(self, name: str, layers: int) -> tuple[int, ...] | None:
        return self.metadata.per_layer(self.key(name), layers)

    def is_array(self, name: str) -> bool:
        return isinstance(self.metadata.get(self.key(name)), Array)


def _attention(
    keys: _Keys, layers: int, embedding: int, recurrence: Recurrence | None
) -> Attention:
    heads = keys.per_layer("attention.head_count", layers) or (0,) * layers
    head_length = embedding // heads[0] if heads and heads[0] else 0
    key_length = keys.integer("attention.key_length", head_length)
    value_length = keys.integer("attention.value_length", head_length)
    windowed, window = _window(keys, layers, recurrence)
    causal = keys.metadata.flag(keys.key("attention.causal"))
    return Attention(
        heads_per_layer=heads,
        kv_heads_per_layer=keys.per_layer("attention.head_count_kv", layers) or heads,
        key_length=key_length,
        value_length=value_length,
        key_length_windowed=keys.integer("attention.key_length_swa", key_length),
        value_length_windowed=keys.integer("attention.value_length_swa", value_length),
        sliding_window=window if any(windowed) else None,
        windowed=windowed,
        causal=causal is not False and keys.architecture != "gemma-embedding",
        kv_lora_rank=keys.integer("attention.kv_lora_rank"),
        key_length_mla=keys.integer("attention.key_length_mla"),
        value_length_mla=keys.integer("attention.value_length_mla"),
        shared_kv_layers=keys.integer("attention.shared_kv_layers", 0),
    )


def _window(
    keys: _Keys, layers: int, recurrence: Recurrence | None
) -> tuple[tuple[bool, ...], int | None]:
    """Which layers have a window, and how many tokens it is."""
    nowhere = (False,) * layers
    rhythm = WINDOWS.get(keys.architecture)
    window = keys.integer("attention.sliding_window")
    if rhythm is None and keys.architecture not in WINDOW_LISTED:
        return nowhere, None
    if keys.architecture == "exaone4" and layers != 64:  # smaller ones were trained without
        return nowhere, None
    if rhythm is not None:
        window = rhythm.default if window is None else window and (rhythm.fixed or window)
    if not window:
        return nowhere, None
    pattern = "attention.sliding_window_pattern"
    if keys.is_array(pattern):
        return tuple(map(bool, keys.per_layer(pattern, layers) or ())), window
    if rhythm is None:
        return nowhere, None
    written = keys.metadata.get(keys.key(pattern))
    period = rhythm.period if written is None else keys.integer(pattern, 0)
    last = 0 if rhythm.full_first else period - 1
    trunk = layers - (keys.integer("nextn_predict_layers", 0))
    return (
        tuple(
            layer < trunk
            and (period == 0 or layer % period != last)
            and not (recurrence is not None and recurrence.layers[layer])
            for layer in range(layers)
        ),
        window,
    )


def _experts(keys: _Keys, layers: int) -> Experts | None:
    count = keys.integer("expert_count", 0)
    used = max(keys.per_layer("expert_used_count", layers) or (0,), default=0)
    groups = keys.integer("expert_group_count", 0)
    if not count and not used and not groups:
        return None
    lengths = keys.per_layer("expert_feed_forward_length", layers)
    return Experts(
        count=count,
        used=used,
        shared=keys.integer("expert_shared_count", 0),
        groups=groups,
        groups_used=keys.integer("expert_group_used_count", 0),
        feed_forward_length=max(lengths, default=0) or None if lengths else None,
    )


def _recurrence(keys: _Keys, layers: int) -> Recurrence | None:
    which = _recurrent_layers(keys, layers)
    if not any(which):
        return None
    return Recurrence(
        layers=which,
        conv_kernel=keys.integer("ssm.conv_kernel", 0),
        inner_size=keys.integer("ssm.inner_size", 0),
        state_size=keys.integer("ssm.state_size", 0),
        time_step_rank=keys.integer("ssm.time_step_rank", 0),
        group_count=keys.integer("ssm.group_count", 0),
        wkv_head_size=keys.integer("wkv.head_size", 0),
        token_shift_count=keys.integer("token_shift_count", 2),
        shortconv_length=keys.integer("shortconv.l_cache", 0),
        kda_head_size=keys.integer("kda.head_dim", 0),
    )


def _recurrent_layers(keys: _Keys, layers: int) -> tuple[bool, ...]:
    architecture = keys.architecture
    if architecture in RECURRENT or architecture == "falcon-h1":
        return (True,) * layers
    if architecture not in HYBRID:
        return (False,) * layers
    listed = keys.per_layer("attention.recurrent_layers", layers)
    if listed is not None:
        return tuple(map(bool, listed))
    if architecture in FULL_ATTENTION_INTERVAL:
        interval = keys.integer("full_attention_interval", FULL_ATTENTION_INTERVAL[architecture])
        trunk = layers - (keys.integer("nextn_predict_layers", 0))
        return tuple(
            layer < trunk and (interval == 0 or (layer + 1) % interval != 0)
            for layer in range(layers)
        )
    kv_heads = keys.per_layer("attention.head_count_kv", layers) or (1,) * layers
    return tuple(heads == 0 for heads in kv_heads)


def _rope(keys: _Keys) -> Rope:
    factor = keys.number("rope.scaling.factor")
    return Rope(
        dimension_count=keys.integer("rope.dimension_count"),
        scaling=keys.metadata.text(keys.key("rope.scaling.type")) or "linear",
        factor=keys.number("rope.scale_linear") if factor is None else factor,
    )
