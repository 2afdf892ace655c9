"""The error shape: `{"error": "..."}`, in a body or as the last line of a stream.

Clients read the status and the text; those of a model that is not here they know by 404 and
'not found', and pull it. Pure; the status comes from the server.
"""

from __future__ import annotations

import json

from localserve.errors import InvalidSchema, LocalserveError, NotDownloaded, UnknownModel


def error_answer(
    error: LocalserveError, status: int, request_id: str
) -> tuple[int, dict[str, object]]:
    """The status and the body of an error answer; `status` is the server's own for the error."""
    if isinstance(error, InvalidSchema):
        status = 400
    elif isinstance(error, NotDownloaded):
        status = 404
    return status, error_fields(error)


def error_fields(error: LocalserveError) -> dict[str, object]:
    """The object that says what is wrong."""
    if isinstance(error, UnknownModel | NotDownloaded):
        return {"error": f"model not found: {error}"}
    return {"error": str(error)}


def error_line(error: LocalserveError) -> str:
    """The last line of a stream that fails after its headers went out."""
    return json.dumps(error_fields(error)) + "\n"
