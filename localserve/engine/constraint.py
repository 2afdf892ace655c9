"""What an answer may say, token by token: the protocol that samplers ask. Pure.

A token is sampled first and asked about afterwards; the row of logits is restricted only where it
is refused. Whoever implements this keeps the state of one answer, which each token of the answer
advances exactly once: also where the answer pauses and what was computed of it is computed again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt


class ConstraintFailed(Exception):
    """The answer can not go on within its constraint; the message says why."""


class Constraint(Protocol):
    """The state of one answer, used by one thread at a time. All methods raise ConstraintFailed."""

    def allows(self, token: int) -> bool:
        """Whether the token may come next; for one that ends the answer, whether it may end."""
        ...

    def restrict(self, row: npt.NDArray[np.float32]) -> None:
        """Set the logits of all tokens that may not come next to -inf; shape (vocabulary,)."""
        ...

    def accept(self, token: int) -> None:
        """The token was chosen; it is one that may come next."""
        ...

    @property
    def complete(self) -> bool:
        """Whether nothing may follow what was accepted."""
        ...


MakeConstraint = Callable[[], Constraint]
"""A constraint of an answer that has not begun; quick, and called once for each sequence."""
