"""Putting entries into a document, and taking them out again. Pure, on plain values.

A document is what JSON can say. Objects are merged key by key; lists whose items all have a `name`
are merged by that name, as clients keep their models and providers; everything else is one value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, TypeGuard


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""Stands for nothing at all, which is not the same as null."""


@dataclass(frozen=True, slots=True)
class Default:
    """A value for where the document says nothing; what it says is left alone."""

    value: object


def settle(patch: object, current: object) -> object:
    """The patch without those of its defaults that `current` has something for."""
    if isinstance(patch, Default):
        return patch.value if current is ABSENT else ABSENT
    if isinstance(patch, Mapping):
        settled = {key: settle(value, _at(current, key)) for key, value in patch.items()}
        return {key: value for key, value in settled.items() if value is not ABSENT}
    return patch


def merge(current: object, patch: object) -> object:
    """The document with what the patch says; shares parts with both."""
    if isinstance(current, Mapping) and isinstance(patch, Mapping):
        changed = {key: merge(_at(current, key), value) for key, value in patch.items()}
        return {**current, **changed}
    if isinstance(current, list) and is_named(patch):
        merged = list(current)
        for item in patch:
            place = place_of(merged, item["name"])
            if place is None:
                merged.append(item)
            else:
                merged[place] = merge(merged[place], item)
        return merged
    return patch


def project(current: object, patch: object) -> object:
    """What stands in the document where the patch is going to write; ABSENT where nothing does."""
    if isinstance(current, Mapping) and isinstance(patch, Mapping):
        kept = {key: project(_at(current, key), value) for key, value in patch.items()}
        return {key: value for key, value in kept.items() if value is not ABSENT}
    if isinstance(current, list) and is_named(patch):
        return [
            project(current[place], item)
            for item in patch
            if (place := place_of(current, item["name"])) is not None
        ]
    return current


def revert(current: object, written: object, before: object) -> object:
    """The document without what was `written`, and with what stood there `before`; what was changed
    since stays as it is. ABSENT where nothing is left that was there before."""
    if current == written:
        return before
    if isinstance(current, Mapping) and isinstance(written, Mapping):
        if before is not ABSENT and not isinstance(before, Mapping):
            return current
        left = {
            key: revert(value, written[key], _at(before, key)) if key in written else value
            for key, value in current.items()
        }
        left = {key: value for key, value in left.items() if value is not ABSENT}
        return left if left or before is not ABSENT else ABSENT
    if isinstance(current, list) and is_named(written):
        items = [_revert_item(item, written, before) for item in current]
        items = [item for item in items if item is not ABSENT]
        return items if items or before is not ABSENT else ABSENT
    return current


def _revert_item(item: object, written: list[dict[str, object]], before: object) -> object:
    name = item.get("name") if isinstance(item, Mapping) else None
    ours = place_of(written, name)
    if ours is None:
        return item
    theirs = before if isinstance(before, list) else []
    place = place_of(theirs, name)
    return revert(item, written[ours], ABSENT if place is None else theirs[place])


def is_named(value: object) -> TypeGuard[list[dict[str, object]]]:
    """Whether it is a list of objects that each have a name of their own."""
    if not isinstance(value, list) or not value:
        return False
    names = [item.get("name") if isinstance(item, Mapping) else None for item in value]
    return all(isinstance(name, str) for name in names) and len(set(names)) == len(names)


def place_of(items: object, name: object) -> int | None:
    """Where the first item of that name stands in a list."""
    for place, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, Mapping) and isinstance(name, str) and item.get("name") == name:
            return place
    return None


def same(one: object, other: object) -> bool:
    """Whether both say the same in a file: unlike `==`, true is not 1, and 1 is not 1.0."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool | float) or isinstance(other, bool | float):
        return type(one) is type(other) and one == other
    return one == other


def _at(document: object, key: object) -> object:
    return document.get(key, ABSENT) if isinstance(document, Mapping) else ABSENT
