"""Bounds of the fields that several dialects have: finite everywhere, and generous where a model
can still answer."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

MAX_NAME_CHARACTERS: Final = 256
"""Of a model's name, and of a tool's."""

MAX_TOOLS: Final = 1_024
"""Of one request; agents with many servers send a few hundred."""

MAX_CHOICES: Final = 16
"""Answers to one prompt."""

MAX_STOPS: Final = 64
"""Stop strings of one request; editors send a few dozen for autocompletion."""

MAX_STOP_CHARACTERS: Final = 1_000
"""Of one stop string. As many characters may be held back from a stream."""

MAX_PENALTY_WINDOW_TOKENS: Final = 1 << 20
"""The largest `repeat_last_n`; also what -1, 'all of them', stands for."""

LARGEST_INTEGER: Final = (1 << 63) - 1
LARGEST_TOKEN: Final = (1 << 31) - 1

Limit = Annotated[int, Field(ge=-1, le=LARGEST_INTEGER)]
"""Tokens; -1 is no limit."""

Name = Annotated[str, Field(max_length=MAX_NAME_CHARACTERS)]
ToolName = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARACTERS)]
StopText = Annotated[str, Field(max_length=MAX_STOP_CHARACTERS)]
Share = Annotated[float, Field(ge=0, le=1)]
Penalty = Annotated[float, Field(ge=-5, le=5)]
RepeatPenalty = Annotated[float, Field(ge=0.01, le=10)]
"""Logits are divided by it: a hair above 0 would make them infinite."""
Seed = Annotated[int, Field(ge=-LARGEST_INTEGER - 1, le=2 * LARGEST_INTEGER + 1)]
