"""The network of the built-in model: Llama-shaped, as llama.cpp computes it.

Only the first pairs of a head's numbers are rotated by position. The others have a frequency of
next to nothing, as `rope_freqs` tells llama.cpp: what they hold is found again at any distance.
The first two layers start with a circuit that copies, which training leaves alone: it would take
long to appear by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

SIZE = 0.3
"""Of the embedding's numbers at the start."""

BACK = (1, 2, 3)
"""How many tokens back the heads of the first layer look at the start."""

STILL = 1e10
"""The factor by which the frequencies of unrotated pairs are divided."""


@dataclass(frozen=True)
class Shape:
    """Sizes of the network."""

    vocabulary: int
    width: int = 256
    layers: int = 5
    heads: int = 4
    inner: int = 512
    rotated_pairs: int = 8
    rope_base: float = 10000.0
    epsilon: float = 1e-5

    @property
    def head_width(self) -> int:
        """Width of one head."""
        return self.width // self.heads

    def frequency_factors(self) -> Tensor:
        """Shape (head_width / 2,): what llama.cpp divides each pair's frequency by."""
        factors = torch.full((self.head_width // 2,), STILL)
        factors[: self.rotated_pairs] = 1.0
        return factors

    def frequencies(self) -> Tensor:
        """Shape (head_width / 2,): radians that a pair turns from one position to the next."""
        half = self.head_width // 2
        return self.rope_base ** (-torch.arange(half) / half) / self.frequency_factors()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary positions on neighbouring pairs, as llama.cpp does for this architecture."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """What each token finds, all heads; `mask` is added to the scores."""
    if query.is_cuda:
        return functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    # Written out: on a CPU its backward pass is faster than the fused one's.
    scores = (query * query.shape[-1] ** -0.5) @ key.mT + mask
    return scores.softmax(-1) @ value


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
        """One layer. `mask` is added to the scores."""
        rows, length, wide = x.shape
        normed = self.attn_norm(x)

        def split(linear: nn.Linear) -> Tensor:
            heads: Tensor = linear(normed).view(rows, length, self.shape.heads, -1)
            return heads.transpose(1, 2)

        query, key = rotate(split(self.attn_q), cos, sin), rotate(split(self.attn_k), cos, sin)
        mixed = attention(query, key, split(self.attn_v), mask)
        x = x + self.attn_output(mixed.transpose(1, 2).reshape(rows, length, wide))
        normed = self.ffn_norm(x)
        out: Tensor = self.ffn_down(functional.silu(self.ffn_gate(normed)) * self.ffn_up(normed))
        return x + out


class Network(nn.Module):
    """The whole network; the embedding serves as output matrix too.

    `spaced` maps tokens that begin with a space to the same token without it; they start alike.
    """

    def __init__(self, shape: Shape, spaced: dict[int, int] | None = None) -> None:
        super().__init__()
        self.shape = shape
        self.frequencies: Tensor
        self.register_buffer("frequencies", shape.frequencies(), persistent=False)
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        with torch.no_grad():
            self.embed(spaced or {})
            self.look_back()
            self.look_up()

    def prepared(self) -> dict[nn.Parameter, Tensor]:
        """The weights that start with something to do, and True where training must leave them.

        Training would wear the circuit down: it copies words that training never shows.
        """
        first, second = self.blk[0], self.blk[1]
        kept: dict[nn.Parameter, Tensor] = {}
        for block, heads in ((first, len(BACK)), (second, self.shape.heads // 2)):
            block.attn_norm.weight.requires_grad = False
            for linear in (block.attn_q, block.attn_k, block.attn_v, block.attn_output):
                mask = torch.zeros_like(linear.weight, dtype=torch.bool)
                side = mask.T if linear is block.attn_output else mask
                side[: heads * self.shape.head_width] = True
                kept[linear.weight] = mask
        return kept

    def embed(self, spaced: dict[int, int]) -> None:
        """Draw the embedding: the lower half of the width for the token itself, its first number
        the same for all tokens, the upper half left to what the first layer finds before it."""
        weight = self.token_embd.weight
        half = self.shape.width // 2
        weight.zero_()
        drawn = torch.randn(weight.shape[0], half - 1)
        space = 0.6 * torch.randn(half - 1)
        for one, bare in spaced.items():
            drawn[one] = drawn[bare] + space
        weight[:, 1:half] = functional.normalize(drawn, dim=1) * SIZE * math.sqrt(half - 1)
        weight[:, 0] = 5 * SIZE
        self.output_norm.weight.fill_(0.06 / SIZE)

    def look_back(self) -> None:
        """Start heads of the first layer as looking one, two and three tokens back.

        All embeddings share one constant, from which these heads make the same query and key
        everywhere; the rotation between the two then decides at which distance they meet. The
        upper half of the width gets a short code of the token before, and of the one before that.
        """
        first, wide, half = self.blk[0], self.shape.head_width, self.shape.width // 2
        self.code = torch.linalg.qr(torch.randn(half, wide))[0].T
        for head, distance in enumerate(BACK):
            rows = slice(head * wide, (head + 1) * wide)
            first.attn_q.weight[rows] = 0.0
            first.attn_k.weight[rows] = 0.0
            for pair, speed in enumerate(self.shape.frequencies()[: self.shape.rotated_pairs]):
                row, angle = head * wide + 2 * pair, -distance * float(speed)
                first.attn_k.weight[row, 0] = 1.5
                first.attn_q.weight[row, 0] = 1.5 * math.cos(angle)
                first.attn_q.weight[row + 1, 0] = 1.5 * math.sin(angle)
            if half + (head + 1) * wide > self.shape.width:
                nn.init.normal_(first.attn_output.weight[:, rows], std=0.05 * SIZE)
                continue
            first.attn_v.weight[rows] = 0.0
            first.attn_v.weight[rows, :half] = self.code
            place = slice(half + head * wide, half + (head + 1) * wide)
            first.attn_output.weight[place, rows] = 0.8 * SIZE * torch.eye(wide)

    def look_up(self, strength: float = 2.5, gain: float = 1.0) -> None:
        """Start heads of the second layer as copying: where did what I just read stand before,
        and what came next?

        The query is the code of this token and of the one before it; the key is what the first
        layer left of the two tokens before the key's own.
        """
        second, wide, half = self.blk[1], self.shape.head_width, self.shape.width // 2
        turned = 2 * self.shape.rotated_pairs
        ones = (wide - turned) * 3 // 5
        before, before_that = slice(half, half + wide), slice(half + wide, half + 2 * wide)
        for head in range(half // wide):
            rows = slice(head * wide, (head + 1) * wide)
            near = slice(head * wide + turned, head * wide + turned + ones)
            far = slice(head * wide + turned + ones, (head + 1) * wide)
            pick = strength * torch.linalg.qr(torch.randn(wide, wide))[0]
            for weight in (second.attn_q.weight, second.attn_k.weight, second.attn_v.weight):
                weight[rows] = 0.0
            second.attn_q.weight[near, :half] = pick[:ones] @ self.code
            second.attn_k.weight[near, before] = pick[:ones]
            second.attn_q.weight[far, before] = pick[ones : wide - turned]
            second.attn_k.weight[far, before_that] = pick[ones : wide - turned]
            second.attn_v.weight[rows, rows] = torch.eye(wide)
            second.attn_output.weight[rows, rows] = gain * torch.eye(wide)

    def hidden(self, tokens: Tensor, positions: Tensor, mask: Tensor) -> Tensor:
        """The last layer's states, normed. `mask` is added to attention's scores."""
        angles = positions[:, None, :, None] * self.frequencies
        x: Tensor = self.token_embd(tokens)
        cos, sin = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
        for block in self.blk:
            x = block(x, mask, cos, sin)
        out: Tensor = self.output_norm(x)
        return out
