"""Packed batches for the training of the built-in model, made in worker processes where asked."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

HIDDEN = -1e4
"""What is added to the score of a token that must not be seen."""

PREFETCHED = 2
"""Batches that each worker process makes ahead."""


@dataclass
class Batch:
    """Packed rows. All tensors are int32, which is half as much to hand over."""

    tokens: Tensor
    """Shape (rows, length)."""
    positions: Tensor
    """Shape (rows, length), within the sample."""
    owner: Tensor
    """Shape (rows, length): which of the row's samples a token belongs to."""
    places: Tensor
    """Shape (learned,): the flat places of the tokens before those to be learned."""
    targets: Tensor
    """Shape (learned,): the tokens to be learned."""
    tasks: Tensor
    """Shape (learned,): the number of each one's task."""

    def each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with all its tensors changed."""
        return Batch(*(change(getattr(self, field.name)) for field in fields(self)))

    def pin_memory(self) -> Batch:
        """A copy that a GPU fetches by itself; the data loader calls this."""
        return self.each(Tensor.pin_memory)

    def to(self, device: torch.device) -> Batch:
        """The batch on a device, as int64. Nobody waits for the copy."""
        return self.each(lambda one: one.to(device, non_blocking=True).long())

    def mask(self) -> Tensor:
        """Shape (rows, 1, length, length): what is added to scores to keep samples apart."""
        seen = (self.owner[:, :, None] == self.owner[:, None, :]).tril()[:, None]
        return torch.zeros(seen.shape, device=seen.device).masked_fill_(~seen, HIDDEN)


@dataclass
class Piece:
    """One tokenized sample of a task, which has a number."""

    task: int
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
    tokens = np.zeros((rows, length), dtype=np.int32)
    positions = np.zeros((rows, length), dtype=np.int32)
    owner = np.full((rows, length), -1, dtype=np.int32)
    places: list[int] = []
    targets: list[int] = []
    tasks: list[int] = []
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
            tasks.extend([piece.task] * len(wanted))
            start = end
    whole = [torch.from_numpy(array) for array in (tokens, positions, owner)]
    lists = [torch.tensor(one, dtype=torch.int32) for one in (places, targets, tasks)]
    return Batch(*whole, *lists)


class Batches(IterableDataset[Batch]):
    """Batches without end. ``stream`` gives the pieces of a seed; each worker has its own."""

    def __init__(
        self, stream: Callable[[int], Iterator[Piece]], seed: int, rows: int, length: int
    ) -> None:
        self.stream, self.seed, self.rows, self.length = stream, seed, rows, length

    def __iter__(self) -> Iterator[Batch]:
        """Batches of this process."""
        worker = get_worker_info()
        seed = self.seed if worker is None else self.seed * 1009 + worker.id + 1
        stream, waiting = self.stream(seed), list[Piece]()
        while True:
            yield pack(stream, self.rows, self.length, waiting)


def load(batches: Batches, workers: int, pinned: bool) -> Iterator[Batch]:
    """The batches, made by worker processes, or here if there are to be none."""
    return iter(
        DataLoader(
            batches,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=PREFETCHED if workers else None,
            pin_memory=pinned,
        )
    )
