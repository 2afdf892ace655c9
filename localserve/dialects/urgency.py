"""The fields that say how soon an answer is needed and until when, and what an editor completes.

They are localserve's own, and the same in the dialects that have them. Pure; any thread.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from localserve.chat import Priority, PriorityName
from localserve.dialects.schema import WireModel

MAX_DEADLINE_MS = 86_400_000
"""A day."""

MAX_FILE_CHARACTERS = 4_096
"""A path or an address."""


class UrgencyFields(WireModel):
    """Of all that is answered with text. The deadline counts from the request's arrival."""

    priority: PriorityName | None = None
    deadline_ms: Annotated[float, Field(gt=0, le=MAX_DEADLINE_MS)] | None = None

    @property
    def wanted_priority(self) -> Priority | None:
        return None if self.priority is None else Priority[self.priority.upper()]

    @property
    def deadline_seconds(self) -> float | None:
        return None if self.deadline_ms is None else self.deadline_ms / 1e3


class EditorFields(UrgencyFields):
    """Of completions. `user` may be anything; only a text says who it is."""

    file: Annotated[str, Field(max_length=MAX_FILE_CHARACTERS)] | None = None
    user: Any = None

    @property
    def user_name(self) -> str | None:
        return self.user if isinstance(self.user, str) else None
