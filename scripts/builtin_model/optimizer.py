"""Muon, as small as it gets: momentum whose matrices are made orthogonal before they are applied.

PyTorch's own computes in bfloat16, one matrix after another. That is right on a GPU and a hundred
times slower on a CPU without bfloat16 units; here matrices of one shape are done together, in the
precision that they have, and processes that train together share the work.

Source: Keller Jordan, "Muon: An optimizer for hidden layers in neural networks" (2024).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor, distributed, nn

MOMENTUM = 0.95
WEIGHT_DECAY = 0.02
ROUNDS = 4


class Muon(torch.optim.Optimizer):
    """For matrices only; `lr` is the size of an update in units of its largest singular value."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Apply the gradients."""
        for group in self.param_groups:
            alike: defaultdict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                alike[parameter.shape].append(parameter)
            for shape, parameters in alike.items():
                updates = shared_orthogonal([self.directed(one) for one in parameters])
                scale = group["lr"] * max(1, shape[0] / shape[1]) ** 0.5
                for parameter, update in zip(parameters, updates, strict=True):
                    parameter.mul_(1 - group["lr"] * WEIGHT_DECAY).sub_(update, alpha=scale)

    def directed(self, parameter: nn.Parameter) -> Tensor:
        """The gradient with Nesterov's momentum."""
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        assert parameter.grad is not None
        momentum: Tensor = state["momentum"].lerp_(parameter.grad, 1 - MOMENTUM)
        return parameter.grad.lerp(momentum, MOMENTUM)


def shared_orthogonal(matrices: list[Tensor]) -> Tensor:
    """Like `orthogonal`, each process doing its part of the matrices."""
    if not distributed.is_initialized():
        return orthogonal(torch.stack(matrices))
    processes, own = distributed.get_world_size(), distributed.get_rank()
    part = -(-len(matrices) // processes)
    padded = [*matrices, *[matrices[-1]] * (part * processes - len(matrices))]
    mine = orthogonal(torch.stack(padded[own * part : (own + 1) * part]))
    parts = [torch.empty_like(mine) for _ in range(processes)]
    distributed.all_gather(parts, mine)
    return torch.cat(parts)[: len(matrices)]


def orthogonal(matrices: Tensor) -> Tensor:
    """Shape (count, rows, columns): each with all singular values near one, by Newton's method."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        square = x @ x.mT
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return x.mT if tall else x
