"""What schemathesis makes up, brought near to what exists, so that answers are tried and not only
refusals: every second request means the model that there is. Loaded by schemathesis itself.

Source: https://schemathesis.readthedocs.io, 'Extending Schemathesis'.
"""

from __future__ import annotations

from typing import Any

import schemathesis

MODEL = "fake"

_asked = 0


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """`model` names the one that there is."""
    if isinstance(body, dict) and isinstance(body.get("model"), str) and _every_second():
        return {**body, "model": MODEL}
    return body


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    """`{name}` as well."""
    if isinstance(path_parameters, dict) and "name" in path_parameters and _every_second():
        return {**path_parameters, "name": MODEL}
    return path_parameters


def _every_second() -> bool:
    global _asked
    _asked += 1
    return _asked % 2 == 0
