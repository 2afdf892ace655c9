"""Known fields that would change the answer and are not supported: they are refused by name.

A field that does not change the answer (`metadata`, `service_tier`, `context_management`,
`cache_control`, ...) needs no entry. Pure; any thread.
"""

from __future__ import annotations

from collections.abc import Mapping

from localserve.errors import UnsupportedField

REFUSED: Mapping[str, str] = {
    "mcp_servers": "Let the client call its servers, and send their tools as tools.",
    "container": "Leave it out.",
}
"""What to do instead, by the field that asks for something."""


def refuse_unsupported(fields: Mapping[str, object]) -> None:
    """Raises: UnsupportedField for the first field that asks for something unsupported."""
    for name, hint in REFUSED.items():
        if fields.get(name):
            raise unsupported(name, hint)


def unsupported(name: str, hint: str) -> UnsupportedField:
    """The error for a field that would change the answer."""
    return UnsupportedField(
        f"{name} would change the answer and is not supported.", param=name, hint=hint
    )
