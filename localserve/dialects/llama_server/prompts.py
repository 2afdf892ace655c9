"""The forms of a prompt: text, ids, a mix of both, an object, or a list of these. Any thread."""

from __future__ import annotations

from localserve.chat import Prompt
from localserve.errors import FieldProblem, InvalidSchema, UnsupportedField

LARGEST_TOKEN = (1 << 31) - 1


def read_prompts(given: object, field: str = "prompt") -> tuple[Prompt, ...]:
    """All prompts of a request, which stand in `field`.

    A list of texts is many prompts, one of ids, or of ids and texts, is a single one.
    Raises: InvalidSchema; UnsupportedField, for images and sounds.
    """
    if not isinstance(given, list):
        return (read_prompt(given, field),)
    if not given:
        raise _wrong(field, "Input should have at least one element")
    if all(_is_token(part) or isinstance(part, str) for part in given) and any(
        map(_is_token, given)
    ):
        return (read_parts(given, field),)
    return tuple(read_prompt(one, f"{field}.{index}") for index, one in enumerate(given))


def read_prompt(given: object, place: str) -> Prompt:
    """One prompt. Raises as `read_prompts`."""
    match given:
        case str():
            return given
        case {"prompt_string": str() as text, **others}:
            if others.get("multimodal_data"):
                raise UnsupportedField(
                    "Only text is supported: there are images or sounds in `multimodal_data`.",
                    param=f"{place}.multimodal_data",
                    hint="Leave them out.",
                )
            return text
        case list():
            return read_parts(given, place)
        case _:
            raise _wrong(
                place,
                "Input should be a text, a list of ids and texts, or an object with a text"
                " as `prompt_string`",
            )


def read_parts(given: list[object], place: str) -> tuple[int | str, ...]:
    """Ids and texts one behind the other. Raises: InvalidSchema."""
    parts: list[int | str] = []
    for index, part in enumerate(given):
        if isinstance(part, str) or (isinstance(part, int) and _is_token(part)):
            parts.append(part)
        else:
            raise _wrong(f"{place}.{index}", "Input should be the id of a token, or a text")
    if not parts:
        raise _wrong(place, "Input should have at least one element")
    return tuple(parts)


def _is_token(part: object) -> bool:
    return isinstance(part, int) and not isinstance(part, bool) and 0 <= part <= LARGEST_TOKEN


def _wrong(place: str, message: str) -> InvalidSchema:
    return InvalidSchema((FieldProblem(place, message, "value_error"),))
