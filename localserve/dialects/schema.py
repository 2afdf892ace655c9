"""Reading a JSON body into a pydantic model, with errors that name the fields as they were sent.

Strict: a string is no number, NaN and infinity are no numbers, unknown fields are accepted. Knows
nothing of what the fields mean. Any thread; large bodies are better read off the event loop.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from localserve.errors import FieldProblem, InvalidRequest, InvalidSchema


class WireModel(BaseModel):
    """Something inside a body. Unknown fields are dropped."""

    model_config = ConfigDict(extra="ignore", strict=True, frozen=True, allow_inf_nan=False)


class WireBody(WireModel):
    """A whole body. Unknown fields stay in `model_extra`, so that they can be looked at by name."""

    model_config = ConfigDict(extra="allow")


_EXPECTED = "Input should be "

Body = TypeVar("Body", bound=WireBody)


def read_json(model: type[Body], body: bytes) -> Body:
    """Parse a body.

    Raises: InvalidRequest (not JSON), InvalidSchema (fields missing, of the wrong type or out of
    bounds).
    """
    try:
        return model.model_validate_json(body)
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
    if details[0]["type"] == "json_invalid":
        reason = details[0]["msg"].removeprefix("Invalid JSON: ")
        raise InvalidRequest(
            f"The body of {len(body):,} bytes is not JSON: {reason}.",
            hint="Send a JSON object in UTF-8.",
        )
    raise InvalidSchema(tuple(_problems(details, json.loads(body))))


def _problems(details: Iterable[ErrorDetails], document: object) -> Iterable[FieldProblem]:
    """One problem a field: what a value could have been instead is joined by 'or'. What is wrong
    inside a value says more than that it could have been something else."""
    by_field: dict[str, list[ErrorDetails]] = {}
    for detail in details:
        by_field.setdefault(_path(detail, document), []).append(detail)
    parents = {parent for field in by_field for parent in _parents(field)}
    for field, found in by_field.items():
        if field in parents:
            continue
        first, *others = dict.fromkeys(_in_words(detail) for detail in found)
        message = " or ".join([first, *(other.removeprefix(_EXPECTED) for other in others)])
        yield FieldProblem(field, message, found[0]["type"])


def _parents(field: str) -> Iterable[str]:
    """`a.0.b` -> `a.0`, `a`."""
    while "." in field:
        field = field.rpartition(".")[0]
        yield field


def _in_words(detail: ErrorDetails) -> str:
    return detail["msg"].removeprefix("Value error, ").rstrip(".")


def _path(detail: ErrorDetails, document: Any) -> str:
    """The place in the document. Names of union branches are left out: nobody sent them."""
    names: list[str] = []
    here = document
    for part in detail["loc"]:
        if isinstance(here, list) and isinstance(part, int):
            names.append(str(part))
            here = here[part] if part < len(here) else None
        elif isinstance(here, dict) and (part in here or detail["type"] == "missing"):
            names.append(str(part))
            here = here.get(part)
    return ".".join(names)
