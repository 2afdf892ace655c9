"""How long a model stays loaded after its last use, by the wishes of those who use it. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Wishes:
    """What was wished for a model since it was loaded.

    Whoever wishes nothing relies on the model's own keep-alive. A wish is never shortened by
    another one's: two programs that share a model would unload it for each other.
    """

    relied_on: bool = False
    longest_seconds: float | None = None

    def add(self, seconds: float | None) -> None:
        """One more use; None wishes nothing, infinity 'as long as it can'."""
        if seconds is None:
            self.relied_on = True
        else:
            self.longest_seconds = max(seconds, self.longest_seconds or 0.0)

    def idle_seconds(self, own_seconds: float) -> float:
        """How long it may be idle; `own_seconds` is the model's own keep-alive."""
        if self.longest_seconds is None:
            return own_seconds
        return max(self.longest_seconds, own_seconds if self.relied_on else 0.0)

    @property
    def promised_seconds(self) -> float:
        """How long it was explicitly wished to stay."""
        return self.longest_seconds or 0.0
