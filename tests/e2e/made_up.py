"""What schemathesis makes up, brought near to what exists, so that answers are tried and not only
refusals: every second request means the model that there is, and none has a deadline that nobody
could keep (its answer is 504, by design). Loaded by schemathesis itself.

Source: https://schemathesis.readthedocs.io, 'Extending Schemathesis'.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import schemathesis

MODEL = "fake"
LEAST_DEADLINE_MS = 60_000

_asked = count()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Changes `case` before it is sent."""
    second = next(_asked) % 2 == 1
    if isinstance(case.body, dict):
        case.body = case.body | _known(case.body, second)
    if second and "name" in (case.path_parameters or {}):
        case.path_parameters = {**case.path_parameters, "name": MODEL}


def _known(body: dict[str, Any], second: bool) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if second and isinstance(body.get("model"), str):
        changes["model"] = MODEL
    deadline = body.get("deadline_ms")
    if isinstance(deadline, int | float) and 0 < deadline < LEAST_DEADLINE_MS:
        changes["deadline_ms"] = LEAST_DEADLINE_MS
    return changes
