"""`POST /infill`: from the body to an InfillRequest. Knows nothing of HTTP. Any thread."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from localserve.chat import ExtraText, InfillRequest
from localserve.dialects.llama_server.asked import Asked, telling_of
from localserve.dialects.llama_server.body import AnswerBody
from localserve.dialects.schema import WireModel, read_json

MAX_EXTRA = 1_024
"""Texts of other files in one request; editors send a few dozen."""

MAX_FILENAME_CHARACTERS = 4_096

UNNAMED = "tmp"
"""The name of a text that has none, as at llama-server."""


class Extra(WireModel):
    text: str
    filename: Annotated[str, Field(max_length=MAX_FILENAME_CHARACTERS)] | None = None


class InfillBody(AnswerBody):
    input_prefix: str
    input_suffix: str
    input_extra: Annotated[list[Extra], Field(max_length=MAX_EXTRA)] | None = None
    prompt: str | None = None


def parse_infill(body: bytes) -> Asked[InfillRequest]:
    """Read a request; without a `model` its name is "".

    Raises: InvalidRequest, InvalidSchema, UnsupportedField.
    """
    infill = read_json(InfillBody, body)
    infill.check()
    generation = infill.generation()
    request = InfillRequest(
        model=infill.model or "",
        prefix=infill.input_prefix,
        suffix=infill.input_suffix,
        begun=infill.prompt or "",
        extra=tuple(
            ExtraText(one.filename or UNNAMED, one.text) for one in infill.input_extra or ()
        ),
        generation=generation,
        priority=infill.wanted_priority,
        deadline_seconds=infill.deadline_seconds,
        file=infill.file or None,
        user=infill.user_name,
    )
    return Asked(request, generation.choices, telling_of(infill))
