"""The network of the built-in model: Llama-shaped, as llama.cpp computes it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True)
class Shape:
    """Sizes of the network."""

    vocabulary: int
    width: int = 192
    layers: int = 5
    heads: int = 6
    inner: int = 512
    rope_base: float = 10000.0
    epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return self.width // self.heads


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on neighbouring pairs, as llama.cpp does for this architecture."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


class Block(nn.Module):
    """Attention and gated feed-forward, each behind a norm."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        wide, inner = shape.width, shape.inner
        self.attn_norm = nn.RMSNorm(wide, eps=shape.epsilon)
        self.ffn_norm = nn.RMSNorm(wide, eps=shape.epsilon)
        self.attn_q = nn.Linear(wide, wide, bias=False)
        self.attn_k = nn.Linear(wide, wide, bias=False)
        self.attn_v = nn.Linear(wide, wide, bias=False)
        self.attn_output = nn.Linear(wide, wide, bias=False)
        self.ffn_gate = nn.Linear(wide, inner, bias=False)
        self.ffn_up = nn.Linear(wide, inner, bias=False)
        self.ffn_down = nn.Linear(inner, wide, bias=False)
        nn.init.zeros_(self.attn_output.weight)
        nn.init.zeros_(self.ffn_down.weight)

    def forward(self, x: Tensor, mask: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """One layer."""
        rows, length, wide = x.shape
        normed = self.attn_norm(x)

        def split(linear: nn.Linear) -> Tensor:
            heads: Tensor = linear(normed).view(rows, length, self.shape.heads, -1)
            return heads.transpose(1, 2)

        query, key = rotate(split(self.attn_q), cos, sin), rotate(split(self.attn_k), cos, sin)
        # Written out: on a CPU its backward pass is faster than the fused one's.
        scores = (query.bfloat16() * self.shape.head_width**-0.5) @ key.bfloat16().mT
        mixed = scores.masked_fill(~mask, -1e4).softmax(-1) @ split(self.attn_v).bfloat16()
        x = x + self.attn_output(mixed.transpose(1, 2).reshape(rows, length, wide))
        normed = self.ffn_norm(x)
        out: Tensor = self.ffn_down(functional.silu(self.ffn_gate(normed)) * self.ffn_up(normed))
        return x + out


class Network(nn.Module):
    """The whole network; the embedding serves as output matrix too."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        nn.init.normal_(self.token_embd.weight, std=0.06)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        self.look_back()

    def look_back(self, back: tuple[int, ...] = (1, 1, 2, 2, 3), strength: float = 1.5) -> None:
        """Start some heads of the first layer as looking one to three tokens back.

        Copying needs such a head before it can be learned, and it takes long to appear by itself.
        All embeddings share one constant, from which these heads make the same query and key
        everywhere; the rotation between the two then decides at which distance they meet.
        """
        first, wide = self.blk[0], self.shape.head_width
        speeds = self.shape.rope_base ** (-torch.arange(wide // 2) / (wide // 2))
        with torch.no_grad():
            self.token_embd.weight[:, 0] = 0.3
            for head, distance in enumerate(back):
                rows = slice(head * wide, (head + 1) * wide)
                first.attn_q.weight[rows] = 0.0
                first.attn_k.weight[rows] = 0.0
                for pair in range(6):
                    row, angle = head * wide + 2 * pair, -distance * float(speeds[pair])
                    first.attn_k.weight[row, 0] = strength
                    first.attn_q.weight[row, 0] = strength * math.cos(angle)
                    first.attn_q.weight[row + 1, 0] = strength * math.sin(angle)
                nn.init.normal_(first.attn_output.weight[:, rows], std=0.02)

    def hidden(self, tokens: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """The last layer's states, normed."""
        half = self.shape.head_width // 2
        speeds = self.shape.rope_base ** (-torch.arange(half, device=tokens.device) / half)
        angles = positions[:, None, :, None] * speeds
        x: Tensor = self.token_embd(tokens)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        for block in self.blk:
            x = block(x, mask, cos, sin)
        out: Tensor = self.output_norm(x)
        return out

    def greedy(self, tokens: list[int], end: int, limit: int = 120) -> list[int]:
        """Continue one prompt, always by the likeliest token (slow, for checks)."""
        made: list[int] = []
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            while len(made) < limit:
                row = torch.tensor([tokens + made])
                mask = torch.ones(row.shape[1], row.shape[1], dtype=torch.bool).tril()
                last = self.hidden(row, torch.arange(row.shape[1])[None], mask)[0, -1]
                best = int((self.token_embd.weight @ last.float()).argmax())
                if best == end:
                    break
                made.append(best)
        return made
