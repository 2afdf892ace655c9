"""The error shape: `{"error": "..."}`, in a body or as the last line of a stream.

Clients read the status and the text; those of a model that is not here they know by 404 and
'not found', and pull it. Pure; the status comes from the server.
"""

from __future__ import annotations

import json

from localserve.errors import InvalidSchema, LocalserveError, NotDownloaded, UnknownModel


def error_fields(error: LocalserveError) -> dict[str, object]:
    """The body of an error answer."""
    if isinstance(error, UnknownModel | NotDownloaded):
        return {"error": f"model not found: {error}"}
    return {"error": str(error)}


def error_status(error: LocalserveError, status: int) -> int:
    """The status, where this API has another one than the server's own."""
    if isinstance(error, InvalidSchema):
        return 400
    return 404 if isinstance(error, NotDownloaded) else status


def error_line(error: LocalserveError) -> bytes:
    """The last line of a stream that fails after its headers went out."""
    return json.dumps(error_fields(error)).encode() + b"\n"
