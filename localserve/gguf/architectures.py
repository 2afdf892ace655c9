"""Which architectures this llama.cpp loads, and what is special about their memory.

Pure. Source: llama-arch.cpp and src/models/ of the llama.cpp in llama-cpp-python 0.3.36.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

KNOWN_AS_OF: Final = (0, 3, 36)
"""The version of llama-cpp-python whose llama.cpp was read for this module."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


ARCHITECTURES: Final = _names("""
    llama llama4 deci falcon grok gpt2 gptj gptneox mpt baichuan starcoder refact bert
    modern-bert nomic-bert nomic-bert-moe neo-bert jina-bert-v2 jina-bert-v3 eurobert bloom
    stablelm qwen qwen2 qwen2moe qwen2vl qwen3 qwen3moe qwen3next qwen3vl qwen3vlmoe qwen35
    qwen35moe qwen4exp phi2 phi3 phimoe plamo plamo2 plamo3 codeshell orion internlm2 minicpm
    minicpm3 gemma gemma2 gemma3 gemma3n gemma4 gemma4-assistant gemma-embedding starcoder2
    mamba mamba2 maple jamba falcon-h1 xverse command-r cohere2 cohere2moe dbrx olmo olmo2 olmoe
    muse-glimmer openelm arctic deepseek deepseek2 deepseek2-ocr deepseek32 deepseek4 chatglm
    glm4 glm4moe glm-dsa bitnet t5 t5encoder jais jais2 nemotron nemotron_h nemotron_h_moe
    exaone exaone4 exaone-moe rwkv6 rwkv6qwen2 rwkv7 arwkv7 granite granitemoe granitehybrid
    graniteswitch granite_swa chameleon wavtokenizer-dec plm bailingmoe bailingmoe2 bailingmoe3
    dots1 dots3note arcee afmoe laguna ernie4_5 ernie4_5-moe hunyuan-moe hunyuan-dense
    hunyuan_vl hy_v3 hy_v4 smollm3 gpt-oss lfm2 lfm2moe dream smallthinker llada llada-moe
    seed_oss grovemoe apertus minimax-01 hrm_text minimax-m2 minimax-m3 cogvlm rnd1
    pangu-embedded mistral3 eagle3 dflash mistral4 paddleocr mimo2 step35 spark2_5 llama-embed
    maincoder kimi-linear kimi-k3 glm5-next talkie mellum nanbeige qwen3tts pockettts
    """)

RECURRENT: Final = _names("mamba mamba2 rwkv6 rwkv6qwen2 rwkv7 arwkv7")
"""Every layer keeps a state of fixed size; there is no KV cache."""

HYBRID: Final = _names(
    "jamba falcon-h1 plamo2 granitehybrid lfm2 lfm2moe nemotron_h nemotron_h_moe qwen3next"
    " kimi-linear bailingmoe3 kimi-k3 glm5-next qwen35 qwen35moe qwen4exp deepseek4"
    " minimax-01"
)
"""Some layers keep a state, others a KV cache; in falcon-h1 each keeps both."""

DIFFUSION: Final = _names("dream llada llada-moe rnd1")
"""Models that do not write one token after the other. Source: llm_arch_is_diffusion."""

SPEECH: Final = _names("wavtokenizer-dec qwen3tts pockettts")
"""Models of sound, whatever their vocabulary."""

NEED_A_TARGET: Final = _names("eagle3 dflash gemma4-assistant")
"""Draft models that only run beside the model they were made for."""

FULL_ATTENTION_INTERVAL: Final[Mapping[str, int]] = {
    "qwen3next": 4,
    "qwen35": 4,
    "qwen35moe": 4,
    "qwen4exp": 4,
    "minimax-01": 8,
}
"""Every how many layers one has attention, where the file does not say it."""


@dataclass(frozen=True, slots=True)
class Window:
    """Sliding-window attention as an architecture has it.

    Of `period` layers one attends to everything: the last, or with `full_first` the first; with 0
    none does. `default` is the window, in tokens, where the file names none; None means that only
    files that name one have windowed layers. `fixed` replaces what a file names.
    """

    period: int
    full_first: bool = False
    default: int | None = None
    fixed: int | None = None


WINDOWS: Final[Mapping[str, Window]] = {
    "afmoe": Window(4),
    "cohere2": Window(4),
    "cohere2moe": Window(4, full_first=True),
    "deepseek4": Window(0),
    "exaone-moe": Window(4, default=128),
    "exaone4": Window(4),
    "gemma-embedding": Window(6),
    "gemma2": Window(2, default=4096),
    "gemma3": Window(6),
    "gemma3n": Window(5),
    "gpt-oss": Window(2),
    "laguna": Window(4, full_first=True),
    "lfm2": Window(0),
    "llama4": Window(4, default=8192, fixed=8192),
    "mellum": Window(4),
    "modern-bert": Window(3, full_first=True),
    "muse-glimmer": Window(4),
    "olmo2": Window(4),
    "plamo3": Window(8),
    "smallthinker": Window(4, full_first=True, fixed=4096),
}
"""Architectures whose windowed layers follow a rhythm unless the file lists them."""

WINDOW_LISTED: Final = _names(
    "dflash dots3note gemma4 gemma4-assistant granite_swa maple mimo2 spark2_5 step35"
)
"""Architectures whose files always list the windowed layers."""

CACHELESS: Final = _names("""
    bert dream eurobert gemma-embedding jina-bert-v2 jina-bert-v3 llada llada-moe modern-bert
    neo-bert nomic-bert nomic-bert-moe rnd1 wavtokenizer-dec
    """)
"""Architectures that keep nothing between batches. Source: create_memory in llama-model.cpp."""

ENCODERS: Final = _names("""
    bert eurobert gemma-embedding jina-bert-v2 jina-bert-v3 modern-bert neo-bert nomic-bert
    nomic-bert-moe
    """)
"""Architectures that make vectors of texts and can write none."""

SQUARE_QUERIES: Final = _names("""
    arctic baichuan bert chameleon codeshell cohere2 command-r deepseek dream eurobert grok
    internlm2 jamba jina-bert-v2 jina-bert-v3 llada-moe nemotron nomic-bert nomic-bert-moe olmo
    olmo2 olmoe orion phi2 phi3 phimoe plamo pockettts qwen2 qwen2moe qwen2vl stablelm
    starcoder2 xverse
    """)
"""Architectures in which all heads together are as wide as the embedding."""

EQUAL_HEAD_LENGTHS: Final = _names("""
    afmoe apertus arcee arctic baichuan bailingmoe2 bert bitnet bloom chameleon chatglm
    codeshell cogvlm cohere2 cohere2moe command-r dbrx deci deepseek dflash dots1 dream eagle3
    ernie4_5 eurobert exaone falcon glm4 glm4moe gpt2 gptneox gpt-oss granite granite_swa
    granitehybrid graniteswitch grok grovemoe hunyuan-moe hunyuan_vl hy_v3 internlm2 jais jais2
    laguna lfm2 lfm2moe llada llada-moe llama llama4 maincoder mellum minimax-01 minimax-m2
    minimax-m3 mistral3 modern-bert mpt muse-glimmer nanbeige nemotron nemotron_h neo-bert olmo
    olmo2 olmoe openelm orion pangu-embedded phi2 phi3 plamo pockettts qwen qwen2 qwen2moe
    qwen2vl qwen3 qwen35 qwen35moe qwen3moe qwen3next qwen3vl qwen3vlmoe qwen4exp refact rnd1
    seed_oss smallthinker smollm3 spark2_5 stablelm starcoder starcoder2 t5 xverse
    """)
"""Architectures in which a head's keys and values are equally long."""

FULL_ROTATION: Final = _names("""
    apertus arcee arctic baichuan chameleon codeshell cogvlm cohere2moe dbrx deci deepseek dots1
    dream ernie4_5 exaone exaone-moe exaone4 falcon gpt-oss granite granite_swa graniteswitch
    grok grovemoe hunyuan-moe hunyuan_vl hy_v3 internlm2 jais2 llada llada-moe llama llama4
    maincoder mellum minimax-01 minimax-m2 mistral3 nemotron olmo olmo2 olmoe orion
    pangu-embedded plamo pockettts qwen2 qwen2moe qwen2vl qwen3 qwen3moe qwen3vl qwen3vlmoe rnd1
    seed_oss smallthinker smollm3 starcoder2 talkie xverse
    """)
"""Architectures that rotate (rope) whole heads."""

MAMBA_2: Final = _names("mamba2 granitehybrid falcon-h1 nemotron_h nemotron_h_moe")
"""State-space layers whose inner size is divided into groups and into heads."""

DELTA: Final = _names("qwen3next qwen35 qwen35moe")
"""Gated delta-net layers: as many heads as time steps, each as wide as the state."""

RWKV: Final = _names("rwkv6 rwkv6qwen2 rwkv7 arwkv7")

RWKV_7: Final = _names("rwkv7 arwkv7")
"""Whose heads llama.cpp computes in whole vectors, reading and writing past an odd end."""

NO_ROPE: Final = _names(
    "gpt2 gptj mpt refact bloom mamba mamba2 jamba jina-bert-v2 t5 t5encoder jais rwkv6 rwkv6qwen2"
    " rwkv7 arwkv7 wavtokenizer-dec nemotron_h nemotron_h_moe kimi-linear kimi-k3 glm5-next"
)
"""Architectures without rotary positions, whatever their files say of them."""
