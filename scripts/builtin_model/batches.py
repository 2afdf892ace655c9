"""Packed batches for the training of the built-in model."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

HIDDEN = -1e4
"""What is added to the score of a token that must not be seen."""


@dataclass
class Batch:
    """Packed rows: tokens, what is added to scores to keep samples apart, what is to be learned."""

    tokens: Tensor
    positions: Tensor
    mask: Tensor
    places: Tensor
    targets: Tensor
    tasks: list[tuple[str, int]]


@dataclass
class Piece:
    """One tokenized sample."""

    task: str
    tokens: list[int]
    learned: list[bool]


def first_fit(waiting: list[Piece], rows: int, length: int) -> list[list[Piece]]:
    """Put what waits into the first row with room; what finds none keeps waiting."""
    filled: list[list[Piece]] = [[] for _ in range(rows)]
    room = [length] * rows
    left: list[Piece] = []
    for piece in waiting:
        row = next((r for r in range(rows) if room[r] >= len(piece.tokens)), None)
        if row is None:
            left.append(piece)
            continue
        filled[row].append(piece)
        room[row] -= len(piece.tokens)
    waiting[:] = left
    return filled


def pack(stream: Iterator[Piece], rows: int, length: int, waiting: list[Piece]) -> Batch:
    """The next batch; ``waiting`` holds the samples that did not fit into the last one."""
    waiting.extend(itertools.islice(stream, max(0, 4 * rows + 16 - len(waiting))))
    tokens = np.zeros((rows, length), dtype=np.int64)
    positions = np.zeros((rows, length), dtype=np.int64)
    owner = np.full((rows, length), -1, dtype=np.int64)
    places: list[int] = []
    targets: list[int] = []
    tasks: list[tuple[str, int]] = []
    for row, line in enumerate(first_fit(waiting, rows, length)):
        start = 0
        for number, piece in enumerate(line):
            end = start + len(piece.tokens)
            tokens[row, start:end] = piece.tokens
            positions[row, start:end] = np.arange(end - start)
            owner[row, start:end] = number
            wanted = [i for i, flag in enumerate(piece.learned) if flag]
            places.extend(row * length + start + i - 1 for i in wanted)
            targets.extend(piece.tokens[i] for i in wanted)
            tasks.append((piece.task, len(wanted)))
            start = end
    whose = torch.from_numpy(owner)
    seen = (whose[:, :, None] == whose[:, None, :]).tril()[:, None]
    mask = torch.zeros(seen.shape).masked_fill(~seen, HIDDEN)
    return Batch(
        torch.from_numpy(tokens),
        torch.from_numpy(positions),
        mask,
        torch.tensor(places),
        torch.tensor(targets),
        tasks,
    )
