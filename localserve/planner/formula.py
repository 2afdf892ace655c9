"""What a model takes, from its header alone and for any machine: no llama.cpp, no device.

Weights, KV cache and recurrent state follow llama.cpp's own rules; the compute buffer is an
estimate. Serves machines that are not this one, and as a cross-check of the dry run. Pure.
Source: llama-model.cpp (layers to devices), llama-kv-cache.cpp, llama-kv-cache-iswa.cpp and
llama-hparams.cpp of llama.cpp.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

from localserve.gguf.architectures import CACHELESS, ENCODERS
from localserve.gguf.facts import GgufFacts
from localserve.gguf.header import Tensor
from localserve.gguf.hyperparameters import Recurrence
from localserve.planner.runtime import Runtime
from localserve.planner.usage import RAM, DeviceUsage, MemoryUsage

CACHE_BITS = {
    "f32": 32.0,
    "f16": 16.0,
    "bf16": 16.0,
    "q8_0": 8.5,
    "q5_1": 6.0,
    "q5_0": 5.5,
    "q4_1": 5.0,
    "q4_0": 4.5,
    "iq4_nl": 4.5,
}
"""Bits of one number in the cache, scales included."""

REPACKED = frozenset({"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"})
"""Types that most processors multiply in a layout of their own. An embedding that is the output
too is then there twice: rows are looked up in the plain layout. Source: ggml-cpu/repack.cpp."""

CELL_PADDING = 256
ALIGNMENT = 32


def estimate(facts: GgufFacts, runtime: Runtime, gpus: Sequence[str] = ()) -> MemoryUsage:
    """The memory of the model on RAM and `gpus`, which share layers by `runtime.tensor_split`."""
    places = layer_devices(facts.hyperparameters.layers, runtime, gpus)
    weights: Counter[str] = Counter()
    for tensor in facts.tensors:
        for device in homes(tensor, places, facts, runtime):
            weights[device] += _padded(tensor.size_bytes, ALIGNMENT)
    cache: Counter[str] = Counter()
    for layer, device in enumerate(places[:-1]):
        cache[device] += cache_bytes(facts, runtime, layer)
    compute = Counter(dict.fromkeys(places, compute_bytes(facts, runtime)))
    names = sorted({*weights, *cache, *compute} | ({RAM} if gpus else set()))
    return MemoryUsage(
        tuple(DeviceUsage(name, weights[name], cache[name], compute[name]) for name in names),
        output_bytes=output_bytes(facts, runtime.outputs_max, pooled=runtime.pooling is not None),
    )


def output_bytes(facts: GgufFacts, rows: int, *, pooled: bool) -> int:
    """The buffer for so many rows of logits, and of vectors where those are made. Source:
    output_reserve in llama-context.cpp."""
    width = facts.hyperparameters.embedding_length or 0
    return 4 * rows * (vocabulary(facts) + (width if pooled else 0))


def layer_devices(layers: int, runtime: Runtime, gpus: Sequence[str]) -> list[str]:
    """The device of each layer; the last element is the output's."""
    count = layers + 1
    on_gpu = count if runtime.gpu_layers is None else min(runtime.gpu_layers, count)
    if not gpus:
        on_gpu = 0
    shares = list(accumulate(runtime.tensor_split or (1.0,) * len(gpus)))
    points = [share / shares[-1] for share in shares]
    return [
        gpus[min(bisect_right(points, (index - (count - on_gpu)) / on_gpu), len(gpus) - 1)]
        if index >= count - on_gpu
        else RAM
        for index in range(count)
    ]


def layer_bytes(facts: GgufFacts, runtime: Runtime) -> list[int]:
    """What each layer takes of a GPU that it lies on, and last what the output takes."""
    count = facts.hyperparameters.layers + 1
    places = [f"layer {index}" for index in range(count)]
    sums: Counter[str] = Counter()
    for tensor in facts.tensors:
        for home in homes(tensor, places, facts, runtime):
            sums[home] += _padded(tensor.size_bytes, ALIGNMENT)
    for layer, home in enumerate(places[:-1]):
        sums[home] += cache_bytes(facts, runtime, layer)
    return [sums[home] for home in places]


def cache_bytes(facts: GgufFacts, runtime: Runtime, layer: int) -> int:
    """KV cache and recurrent state of one layer."""
    attention, recurrence = facts.hyperparameters.attention, facts.hyperparameters.recurrence
    state = 0
    if recurrence is not None and recurrence.layers[layer]:
        state = 4 * runtime.sequences * state_numbers(facts, recurrence)
    if not has_cache(facts, layer):
        return state
    heads = attention.kv_heads(layer)
    windowed = attention.windowed[layer]
    keys = heads * (attention.key_length_windowed if windowed else attention.key_length)
    values = heads * (attention.value_length_windowed if windowed else attention.value_length)
    if attention.latent:
        keys, values = attention.key_length, 0
    bits = keys * CACHE_BITS[runtime.cache_type_k] + values * CACHE_BITS[runtime.cache_type_v]
    return state + math.ceil(cells(facts, runtime, windowed) * bits / 8)


def state_bytes(facts: GgufFacts, runtime: Runtime) -> int:
    """What one sequence has beside cells that can be cut: its windows and its recurrent state."""
    one = replace(runtime, sequences=1)
    attention, recurrence = facts.hyperparameters.attention, facts.hyperparameters.recurrence
    size = 0
    for layer in range(facts.hyperparameters.layers):
        if recurrence is not None and recurrence.layers[layer]:
            size += 4 * state_numbers(facts, recurrence)
        elif attention.windowed[layer]:
            held = cells(facts, one, windowed=True)
            window = min(attention.sliding_window or held, held)
            size += cache_bytes(facts, one, layer) * window // held
    return size


def has_cache(facts: GgufFacts, layer: int) -> bool:
    """Whether a layer keeps keys and values of its own."""
    sizes, attention = facts.hyperparameters, facts.hyperparameters.attention
    recurrent = sizes.recurrence is not None and sizes.recurrence.layers[layer]
    if recurrent and facts.tensor(f"blk.{layer}.attn_k.weight") is None:
        return False
    own = layer < sizes.layers - attention.shared_kv_layers
    return own and facts.architecture not in CACHELESS and attention.kv_heads(layer) > 0


def cells(facts: GgufFacts, runtime: Runtime, windowed: bool) -> int:
    """Cells of a layer's cache: the whole context, or what windows of all sequences reach."""
    whole = _padded(runtime.context_tokens, CELL_PADDING)
    window = facts.hyperparameters.attention.sliding_window
    if not windowed or window is None or runtime.swa_full:
        return whole
    reached = window * runtime.sequences + runtime.batch_tokens
    return _padded(min(whole, reached), CELL_PADDING)


def state_numbers(facts: GgufFacts, recurrence: Recurrence) -> int:
    """Numbers that one recurrent layer keeps for one sequence."""
    width = facts.hyperparameters.embedding_length or 0
    heads = max(facts.hyperparameters.attention.heads_per_layer, default=0)
    if recurrence.wkv_head_size:
        return width * (recurrence.token_shift_count + recurrence.wkv_head_size)
    if recurrence.shortconv_length:
        return width * (recurrence.shortconv_length - 1)
    if size := recurrence.kda_head_size:
        return 3 * max(recurrence.conv_kernel - 1, 3) * heads * size + size * size * heads
    inner, state = recurrence.inner_size, recurrence.state_size
    convolution = max(recurrence.conv_kernel - 1, 0)
    return convolution * (inner + 2 * recurrence.group_count * state) + state * inner


def compute_bytes(facts: GgufFacts, runtime: Runtime) -> int:
    """The compute buffer of one device: the widest part of a layer, or the logits, and masks."""
    sizes = facts.hyperparameters
    width = sizes.embedding_length or 0
    widest = 4 * max(sizes.feed_forward_lengths, default=0) + width
    if sizes.recurrence is not None:
        widest = max(widest, 4 * sizes.recurrence.inner_size + width)
    if (experts := sizes.experts) is not None and experts.used:
        inner = experts.feed_forward_length or max(sizes.feed_forward_lengths, default=0)
        widest = max(widest, experts.used * (4 * inner + width) + 2 * width)
    layer = 4 * runtime.batch_tokens * widest
    words = 0 if facts.architecture in ENCODERS else vocabulary(facts)
    logits = 4 * (runtime.outputs_max * words + 2 * runtime.batch_tokens * width)
    kinds = {
        windowed
        for layer, windowed in enumerate(sizes.attention.windowed)
        if has_cache(facts, layer)
    }
    masks = [cells(facts, runtime, windowed) for windowed in kinds]
    if facts.architecture in CACHELESS:
        masks = [runtime.batch_tokens]
    return max(layer, logits) + 2 * runtime.batch_tokens * sum(masks)


def vocabulary(facts: GgufFacts) -> int:
    """Tokens of the vocabulary, by the embedding's rows."""
    embedding = facts.tensor("token_embd.weight")
    return embedding.shape[1] if embedding is not None else facts.hyperparameters.vocabulary or 0


def homes(tensor: Tensor, places: Sequence[str], facts: GgufFacts, runtime: Runtime) -> list[str]:
    """The devices that hold a tensor: a tied embedding lies in RAM and where the output is."""
    head, _, rest = tensor.name.partition(".")
    number = rest.partition(".")[0]
    if head == "blk" and number.isdecimal():
        layer = int(number)
        if "_exps" in rest and layer < runtime.cpu_expert_layers:
            return [RAM]
        return [places[min(layer, len(places) - 2)]]
    tied = facts.tied_embeddings and facts.architecture not in ENCODERS
    if tensor.name == "token_embd.weight" and tied:
        twice = places[-1] != RAM or tensor.type.name in REPACKED
        return [RAM, places[-1]] if twice else [RAM]
    return [places[-1]] if head.startswith("output") else [RAM]


def _padded(size: int, unit: int) -> int:
    return -(-size // unit) * unit
