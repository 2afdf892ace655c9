"""JSON schemas as requests have them, as text. Any thread."""

from __future__ import annotations

import json
from typing import Any

ANY_OBJECT = '{"type": "object"}'

Schema = dict[str, Any] | str
"""A schema, or its JSON text."""


def schema_text(schema: Schema) -> str:
    """The order of its members is kept: it is that of the answer's."""
    return schema if isinstance(schema, str) else json.dumps(schema)
