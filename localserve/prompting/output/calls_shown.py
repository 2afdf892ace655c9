"""The shape of tool calls, from turns in which a template renders them. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import takewhile

from localserve.prompting.output.comparing import shared_last_markers, shared_start
from localserve.prompting.output.format import (
    ARGUMENTS_KEYS,
    ID_KEYS,
    NAME_KEYS,
    CallForm,
    JsonCalls,
    LiteralCalls,
    NamedCalls,
    Span,
    TaggedCalls,
    ToolCalls,
)
from localserve.prompting.output.openers import split_markers
from localserve.prompting.output.probes import (
    IDS,
    KEYS,
    NAME_IN_ID,
    NAMES,
    NUMBER_VALUE,
    TEXT_VALUE,
)

LONGEST_CLOSE = 64
"""A longer text behind calls, in characters, is no marker."""

_QUOTES = "\"'"


@dataclass(frozen=True, slots=True)
class _Shown:
    """What a form was found to be, and the texts around it."""

    form: CallForm
    before: str
    behind: str


def derive_calls(
    call: str, two_arguments: str, two_calls: str, name_in_id: str, source: str
) -> ToolCalls | None:
    """From the bodies of turns: with a call, one with two arguments, with two calls, and with an
    id that contains the name. Each may be empty; None where nothing was recognised."""
    in_id = NAME_IN_ID in name_in_id and NAMES[0] not in name_in_id.replace(NAME_IN_ID, "")
    if in_id:
        call = name_in_id
    shown = (
        _json_objects(call)
        or _named(call, in_id)
        or _literal(call)
        or _tagged(two_arguments or call, source)
    )
    if shown is None:
        return None
    section, each = _split_around(shown, two_calls if not in_id else "")
    section, each = _without_text_behind(section), _without_text_behind(each)
    bare = not (section.open or each.open)
    return ToolCalls(shown.form, section, each, bare)


def _without_text_behind(span: Span) -> Span:
    """Without what a template says behind a turn, which is no marker."""
    markers = takewhile(lambda part: len(part) <= LONGEST_CLOSE, split_markers(span.close))
    return Span(span.open, "".join(markers))


def _json_objects(body: str) -> _Shown | None:
    """Calls that are objects, with the name within."""
    for start in (found.start() for found in re.finditer(r"[\[{]", body)):
        try:
            value, end = json.JSONDecoder().raw_decode(body, start)
        except (ValueError, RecursionError):
            continue
        call = value[0] if isinstance(value, list) and value else value
        if isinstance(call, dict) and (form := _json_form(call)):
            return _Shown(form, body[:start].strip(), body[end:].strip())
    return None


def _json_form(call: dict[str, object]) -> JsonCalls | None:
    inner = call.get("function")
    if isinstance(inner, dict):
        call = inner
    if NAMES[0] in call:
        return JsonCalls(named_by_key=True)
    keys = list(call)
    name = [key for key in keys if call[key] == NAMES[0]]
    arguments = [key for key in keys if KEYS[0] in str(call[key])]
    ids = [key for key in keys if call[key] == IDS[0]]
    if not name or not arguments:
        return None
    return JsonCalls(
        NAME_KEYS | set(name),
        ARGUMENTS_KEYS | set(arguments),
        ID_KEYS | set(ids),
        id_late=bool(ids) and keys.index(ids[0]) > keys.index(name[0]),
    )


def _named(body: str, in_id: bool) -> _Shown | None:
    """A name, then a JSON object of arguments."""
    mark = NAME_IN_ID if in_id else NAMES[0]
    at = body.find(mark)
    if at < 0:
        return None
    before, behind = body[:at], body[at + len(mark) :]
    start = behind.find("{")
    if start < 0 or behind[:start].endswith("<"):
        return None
    try:
        value, end = json.JSONDecoder().raw_decode(behind, start)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or KEYS[0] not in value:
        return None
    middle = behind[:start]
    rest = behind[end:].strip()
    if in_id:
        return _Shown(NamedCalls(middle.strip(), name_in_id=True), before.strip(), rest)
    if IDS[0] in middle:
        id_mark, _, name_end = middle.partition(IDS[0])
        form = NamedCalls(name_end.strip(), id_mark.strip())
        return _Shown(form, before.strip(), rest)
    if IDS[0] in before:
        before, _, id_mark = before.partition(IDS[0])
        form = NamedCalls(middle.strip(), id_mark.strip(), id_first=True)
        return _Shown(form, before.strip(), rest)
    return _Shown(NamedCalls(middle.strip()), before.strip(), rest)


def _literal(body: str) -> _Shown | None:
    """Like code: the name, a bracket, a bare key."""
    pattern = (
        rf"(?P<open>[({{])\s*{KEYS[0]}\s*(?P<assign>[:=])\s*(?P<quote>[^\w\s]+){TEXT_VALUE}"
        r"(?P=quote)\s*(?P<close>[)}])"
    )
    at = body.find(NAMES[0])
    found = re.compile(pattern).match(body, at + len(NAMES[0])) if at >= 0 else None
    if found is None:
        return None
    quote = "" if found["quote"] in _QUOTES else found["quote"]
    form = LiteralCalls(Span(found["open"], found["close"]), found["assign"], quote)
    before, behind = body[:at].strip(), body[found.end() :].strip()
    if before.endswith("[") and behind.startswith("]"):
        before, behind = before[:-1].rstrip(), behind[1:].lstrip()
    return _Shown(form, before, behind)


def _tagged(body: str, source: str) -> _Shown | None:
    """Each argument between tags; from a call with two arguments."""
    places = [body.find(text) for text in (NAMES[0], KEYS[0], TEXT_VALUE, KEYS[1])]
    places.append(body.rfind(str(NUMBER_VALUE)))
    if -1 in places or places != sorted(places):
        return None
    name, key, value, second_key, number = places
    before = body[:name]
    to_key = body[name + len(NAMES[0]) : key]
    to_value = body[key + len(KEYS[0]) : value]
    between = body[value + len(TEXT_VALUE) : second_key]
    to_number = body[second_key + len(KEYS[1]) : number]
    behind = body[number + len(str(NUMBER_VALUE)) :]
    value_close = shared_start(between, behind)
    key_open = between.removeprefix(value_close).strip()
    if not value_close.strip() or not key_open:
        return None
    string_mark, key_end = _string_mark(to_value, to_number)
    form = TaggedCalls(
        name_end=to_key.rstrip().removesuffix(key_open).strip(),
        key_open=key_open,
        key_end=key_end.strip(),
        value_close=value_close.strip(),
        lines=to_value.endswith("\n") and value_close.startswith("\n"),
        string_mark=string_mark,
        cdata="<![CDATA[" in source,
    )
    return _Shown(form, before.strip(), behind.removeprefix(value_close).strip())


def _string_mark(to_value: str, to_number: str) -> tuple[str, str]:
    """What in a string's tag differs from a number's, and what ends the tags of both."""
    if to_value == to_number:
        return "", to_value
    found = re.search(r"[<>][^=]*\Z", to_value)
    end = found[0] if found else to_value
    words = re.findall(r"[^\s<>]+=[^\s<>]+", to_value.removesuffix(end))
    marks = [word for word in words if word not in to_number]
    return (marks[0], end) if marks else ("", to_value)


def _split_around(shown: _Shown, two_calls: str) -> tuple[Span, Span]:
    """Which markers are around all calls, which around each; each, where it does not show."""
    if isinstance(shown.form, JsonCalls):
        second = two_calls.find(NAMES[1])
        again = two_calls.find(shown.before, two_calls.find(NAMES[0])) if shown.before else -1
        if 0 <= again < second:
            return Span(), Span(shown.before, shown.behind)
        return Span(shown.before, shown.behind), Span()
    middle = _middle(two_calls, shown)
    if middle is None:
        return Span(), Span(shown.before, shown.behind)
    each_open = shared_last_markers(shown.before, middle)
    rest = middle[: len(middle) - len(each_open)] if each_open else middle
    each_close = shared_start(shown.behind, rest.strip())
    if not each_open:
        return Span(), Span(shown.before, shown.behind)
    section_open = shown.before[: len(shown.before) - len(each_open)].strip()
    section_close = shown.behind.removeprefix(each_close).strip()
    return Span(section_open, section_close), Span(each_open.strip(), each_close.strip())


def _middle(two_calls: str, shown: _Shown) -> str | None:
    """What stands between the arguments of one call and the name of the next."""
    second = two_calls.find(NAMES[1])
    last_value = two_calls.rfind(TEXT_VALUE, 0, second)
    if second < 0 or last_value < 0:
        return None
    middle = two_calls[last_value + len(TEXT_VALUE) : second]
    form = shown.form
    if isinstance(form, TaggedCalls):
        return middle.partition(form.value_close)[2]
    if isinstance(form, LiteralCalls):
        return middle.partition(form.arguments.close)[2]
    middle = middle.partition("}")[2]
    if isinstance(form, NamedCalls) and form.id_first and IDS[1] in middle:
        middle = middle.partition(IDS[1])[0]
    return middle
