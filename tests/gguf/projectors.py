"""Writes small projectors (mmproj) in the shape of SigLIP, which llama.cpp's mtmd loads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from gguf import GGUFWriter


@dataclass(frozen=True)
class SmallProjector:
    """A transformer over patches; `text_width` is that of the model that it sees for."""

    width: int = 64
    feed_forward: int = 128
    heads: int = 2
    layers: int = 2
    image_size: int = 112
    patch_size: int = 14
    text_width: int = 64


def write_projector(path: Path, shape: SmallProjector | None = None) -> Path:
    """Write one of the Gemma 3 kind: patches in, soft tokens out."""
    shape = shape or SmallProjector()
    writer = GGUFWriter(path, "clip")
    writer.add_type("mmproj")
    writer.add_name("Small projector")
    writer.add_file_type(0)
    writer.add_bool("clip.has_vision_encoder", True)
    writer.add_string("clip.projector_type", "gemma3")
    writer.add_bool("clip.use_gelu", True)
    for key, value in {
        "image_size": shape.image_size,
        "patch_size": shape.patch_size,
        "embedding_length": shape.width,
        "feed_forward_length": shape.feed_forward,
        "block_count": shape.layers,
        "projection_dim": shape.text_width,
        "attention.head_count": shape.heads,
    }.items():
        writer.add_uint32(f"clip.vision.{key}", value)
    writer.add_float32("clip.vision.attention.layer_norm_epsilon", 1e-6)
    writer.add_array("clip.vision.image_mean", [0.5, 0.5, 0.5])
    writer.add_array("clip.vision.image_std", [0.5, 0.5, 0.5])
    for name, dimensions in _tensors(shape).items():
        writer.add_tensor(name, np.zeros(dimensions, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _tensors(shape: SmallProjector) -> dict[str, tuple[int, ...]]:
    """Names and dimensions, outermost first."""
    wide, patch = shape.width, shape.patch_size
    tensors: dict[str, tuple[int, ...]] = {
        "v.patch_embd.weight": (wide, 3, patch, patch),
        "v.patch_embd.bias": (wide,),
        "v.position_embd.weight": ((shape.image_size // patch) ** 2, wide),
        "v.post_ln.weight": (wide,),
        "v.post_ln.bias": (wide,),
        "mm.input_projection.weight": (wide, shape.text_width),
        "mm.soft_emb_norm.weight": (wide,),
    }
    for layer in range(shape.layers):
        block: dict[str, tuple[int, ...]] = {
            f"attn_{part}.weight": (wide, wide) for part in ("q", "k", "v", "out")
        }
        block |= {f"attn_{part}.bias": (wide,) for part in ("q", "k", "v", "out")}
        block |= {
            "ln1.weight": (wide,),
            "ln1.bias": (wide,),
            "ln2.weight": (wide,),
            "ln2.bias": (wide,),
            "ffn_up.weight": (shape.feed_forward, wide),
            "ffn_up.bias": (shape.feed_forward,),
            "ffn_down.weight": (wide, shape.feed_forward),
            "ffn_down.bias": (wide,),
        }
        tensors |= {f"v.blk.{layer}.{name}": dimensions for name, dimensions in block.items()}
    return tensors
