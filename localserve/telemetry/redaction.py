"""Takes out of a text what must not stand in a log: secrets, e-mail addresses, card and phone
numbers.

Each becomes a marker, such as `[EMAIL]`. A card number is one by its issuer's digits, its length
and its check digit; a phone number by the ways in which people write them. Where a number could be
either of something harmless and a phone, its punctuation decides, and in doubt it goes. Every
pattern takes time in proportion to the text. Pure; any thread.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple


class Span(NamedTuple):
    """Characters `start` to `stop` of a text, and what stands in their place."""

    start: int
    stop: int
    marker: str


SECRET: Final = "[SECRET]"
EMAIL: Final = "[EMAIL]"
CARD: Final = "[CARD]"
PHONE: Final = "[PHONE]"

_BEGIN = r"(?:(?<![0-9A-Za-z])|(?<=\\[bfnrt]))"
"""Not within a word; the letter of an escape in JSON within JSON is none."""


def redact(text: str, most_characters: int | None = None) -> str:
    """The text without what must not be logged, and no more than its first `most_characters`.

    Hand over a little more than is wanted, so that a secret across the end is still seen as one.
    """
    end = len(text) if most_characters is None else min(most_characters, len(text))
    parts: list[str] = []
    at = 0
    for start, stop, marker in find(text):
        if start >= end:
            break
        parts += [text[at:start], marker]
        at = stop
    parts.append(text[at:end])
    return "".join(parts)


def find(text: str) -> list[Span]:
    """What `redact` takes out, in order and without overlaps; the earlier kind wins."""
    found: list[Span] = []
    taken = bytearray(len(text))
    for search in _SEARCHES:
        for span in search(text):
            start, stop, _ = span
            if taken.find(1, start, stop) < 0:
                taken[start:stop] = b"\1" * (stop - start)
                found.append(span)
    return sorted(found)


# Secrets

_PEM = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----.*?"
    r"(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----|\Z)",
    re.DOTALL,
)
_IN_URL = re.compile(r"(?<=://)[^\s/:@\"'\\]{0,256}:([^\s/@\"'\\]{1,256})(?=@)")
_IN_HEADER = re.compile(r"\b(?:bearer|basic)\s{1,3}([A-Za-z0-9._~+/=-]{12,})", re.IGNORECASE)
_PREFIXED = re.compile(
    _BEGIN
    + r"""(?:
      sk-[A-Za-z0-9_-]{16,}                         # OpenAI, Anthropic, OpenRouter and many more
    | (?:sk|pk|rk|whsec)_(?:live_|test_)?[A-Za-z0-9]{16,}  # Stripe
    | ls-[0-9a-f]{8}-[A-Za-z0-9_-]{20,}             # this server's own
    | hf_[A-Za-z0-9]{20,}
    | gh[pousr]_[A-Za-z0-9]{20,}
    | github_pat_[A-Za-z0-9_]{20,}
    | gl[a-z]{2,6}-[A-Za-z0-9_-]{16,}
    | xox[a-z]-[A-Za-z0-9-]{10,}
    | (?:AKIA|ASIA)[A-Z0-9]{16}
    | AIza[A-Za-z0-9_-]{30,}
    | ya29\.[A-Za-z0-9_-]{20,}
    | npm_[A-Za-z0-9]{30,}
    | pypi-[A-Za-z0-9_-]{16,}
    | SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}
    | (?:gsk_|xai-|r8_|nvapi-|dop_v1_|dckr_pat_)[A-Za-z0-9_-]{20,}
    | eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*)?  # JSON web tokens
    )""",
    re.VERBOSE,
)
_NAMED = re.compile(
    r"""(?:
      api[_-]?key | access[_-]?key(?:[_-]?id)? | secret(?:[_-]?(?:access[_-]?)?key)?
    | (?P<file>private[_-]?key | pwd) | passw(?:or)?d | passphrase
    | (?:auth|access|refresh|session|bot)[_-]?token
    )
    \\{0,7}["']?\s{0,3}[:=]{1,2}>?\s{0,3}
    (?:
      (?P<quote>["'])(?P<quoted>(?:\\.|[^\\\n]){0,1024}?)(?:(?P=quote)|\\?\Z)
    | (?P<mark>\\{1,7}["'])(?P<inner>[^\n]{0,1024}?)(?:(?<!\\)(?P=mark)|\Z)  # JSON within JSON
    | (?P<open>\\{0,7}["'])?(?P<word>(?:[^\s"',;&\\]|\\\\|&(?![A-Za-z_][\w.%\[\]-]{0,63}=)){4,})
    )""",
    re.IGNORECASE | re.VERBOSE,
)
"""A name and its value: what stands in quotation marks, or one word where they do not close. A word
ends where the next parameter of an address begins."""

_NO_VALUE = re.compile(
    r"""\s* | none | null | true | false | str(?:ing)? | bool(?:ean)? | int | required | optional
    | redacted | \*+ | x+ | \.+ | (?:\[[A-Z]+\])+ | <[^<>]*> | \$?\{[^{}]*\} | \{\{[^{}]*\}\}
    | %\w+% | \$(?-i:[A-Z_][A-Z0-9_]*)""",
    re.IGNORECASE | re.VERBOSE,
)
"""What stands behind such a name in descriptions and in place of a value."""

_CODE = re.compile(
    r"""[<{\[(%]{1,2}[\w.\[\]-]*[>}\])%]{0,2} | \$[{(].*
    | (?:os|self|settings|config|process|env|args)\.[\w.]*
    | [A-Za-z_][\w.]*[\[(](?:[A-Za-z_][\w.]*|[0-9]+)?[\])]{0,2}""",
    re.IGNORECASE | re.VERBOSE,
)
"""What stands there in programs, unquoted."""

_FILE = re.compile(r"(?:~|\.{1,2})?/.*")


def _named(match: re.Match[str]) -> Span | None:
    """The value of a `_NAMED`, unless it is none."""
    part = next(part for part in ("quoted", "inner", "word") if match[part] is not None)
    value = match[part]
    if _NO_VALUE.fullmatch(value) or value.startswith(SECRET):
        return None
    if match["file"] and _FILE.fullmatch(value):
        return None
    unquoted = part == "word" and match["open"] is None
    if unquoted and (_CODE.fullmatch(value) or not re.search("[0-9]", value)):
        return None
    return Span(*match.span(part), SECRET)


def _looks_random(text: str) -> bool:
    """Whether it is no word: it has digits, or capitals in its midst."""
    return re.search(r"[0-9]|[a-z][A-Z]", text) is not None


def _secrets(text: str) -> Iterator[Span]:
    """Secrets, those within and across each other as one."""
    whole: Span | None = None
    for span in sorted(_single_secrets(text)):
        if whole is None or span.start >= whole.stop:
            if whole is not None:
                yield whole
            whole = span
        else:
            whole = whole._replace(stop=max(whole.stop, span.stop))
    if whole is not None:
        yield whole


def _single_secrets(text: str) -> Iterator[Span]:
    for match in _PEM.finditer(text):
        yield Span(*match.span(), SECRET)
    for match in _IN_URL.finditer(text):
        yield Span(*match.span(1), SECRET)
    for match in _IN_HEADER.finditer(text):
        if _looks_random(match[1]):
            yield Span(*match.span(1), SECRET)
    for match in _PREFIXED.finditer(text):
        if re.search("[0-9]", match[0]):
            yield Span(*match.span(), SECRET)
    for match in _NAMED.finditer(text):
        if (span := _named(match)) is not None:
            yield span


# E-mail addresses

_ADDRESS = re.compile(r"[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[^\W\d_]{2,63}\b(?!\()")
_EMAIL = re.compile(r"(?<![\w.+%-])" + _ADDRESS.pattern)
_REPOSITORY = re.compile(r"git@[\w.-]+\Z")
"""How git's servers are named, which is nobody's address."""


def _emails(text: str) -> Iterator[Span]:
    match = _EMAIL.search(text)
    while match is not None:
        if not (_REPOSITORY.match(match[0]) and text[match.end() : match.end() + 1] in (":", "/")):
            yield Span(*match.span(), EMAIL)
        match = _ADDRESS.match(text, match.end()) or _EMAIL.search(text, match.end())


# Card numbers

_DIGITS = re.compile(_BEGIN + r"[0-9]{3,19}(?![0-9A-Za-z])")
_GAPS: Final = frozenset(" -.\u00a0\u2009\u202f\u2010\u2011\u2013")
_FIRST_GROUPS: Final = (4, 6)
MOST_GROUPS: Final = 5
_ISSUERS: Final[tuple[tuple[str, str, tuple[int, ...]], ...]] = (
    ("4", "4", (13, 16, 19)),
    ("51", "55", (16,)),
    ("2221", "2720", (16,)),
    ("34", "34", (15,)),
    ("37", "37", (15,)),
    ("300", "305", (14, 16, 17, 18, 19)),
    ("36", "36", (14, 16, 17, 18, 19)),
    ("38", "39", (14, 16, 17, 18, 19)),
    ("3528", "3589", (16, 17, 18, 19)),
    ("2200", "2204", (16, 17, 18, 19)),
    ("50", "50", (16, 17, 18, 19)),
    ("56", "69", (16, 17, 18, 19)),
)
"""First and last of the leading digits of an issuer, and how many digits its cards have: Visa,
Mastercard (2), American Express (2), Diners (3), JCB, Mir, Maestro (2, with Discover and UnionPay).

Source: ISO/IEC 7812, and the ranges that the networks publish.
"""


def is_card_number(digits: str) -> bool:
    """Whether these digits are a card's: of an issuer, as long as its cards, the check right."""
    return any(
        len(digits) in lengths and first <= digits[: len(first)] <= last
        for first, last, lengths in _ISSUERS
    ) and _luhn(digits)


def _luhn(digits: str) -> bool:
    """Source: ISO/IEC 7812-1, annex B."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _cards(text: str) -> Iterator[Span]:
    groups = list(_DIGITS.finditer(text))
    for number, first in enumerate(groups):
        if _is_fraction(text, first.start()):
            continue
        digits, stop = first[0], first.end()
        if is_card_number(digits):
            yield Span(*first.span(), CARD)
            continue
        if len(digits) not in _FIRST_GROUPS:
            continue
        for group in groups[number + 1 : number + MOST_GROUPS]:
            if group.start() != stop + 1 or text[stop] not in _GAPS:
                break
            digits, stop = digits + group[0], group.end()
            if is_card_number(digits):
                yield Span(first.start(), stop, CARD)
                break


def _is_fraction(text: str, at: int) -> bool:
    """Whether digits from there are the decimals of a number."""
    return at >= 2 and text[at - 1] == "." and text[at - 2].isdecimal()


# Phone numbers

_NUMBER = r"(?:(?<![\w./+@#-])|(?<=\\[bfnrt]))"
_NUMBER_END = r"(?!\w|[./-][0-9])"
_INTERNATIONAL = re.compile(
    r"(?:(?<![\w+@#])|(?<=\\[bfnrt]))(?:\+|00(?=[1-9]))\(?[1-9][0-9]{0,14}"
    r"(?:(?:\)[ \u00a0]?-?|[ \u00a0-]\(?|\(|[./])[0-9]{1,11}){0,7}(?![0-9A-Za-z])"
)
_AMERICAN = re.compile(
    _NUMBER
    + r"(?:1[ .-])?"
    + r"(?:\([2-9][0-9]{2}\)[ ]?|[0-9]{3}[.-]|[2-9][0-9]{2}[ \u00a0](?=[2-9]))"
    + r"[0-9]{3}[ .-][0-9]{4}"
    + _NUMBER_END
)
_WITH_AREA = re.compile(
    _NUMBER
    + r"(?:\(0[1-9][0-9]{1,4}\)[ /-]{0,3}|0[1-9][0-9]{1,4}[ ]?[ /-][ ]?)"
    + r"[0-9]{3,4}[ -]?[0-9]{2,5}(?:[ -][0-9]{2,4})?"
    + _NUMBER_END
)
_IN_PAIRS = re.compile(_NUMBER + r"0[1-9](?:[ .-][0-9]{2}){4}" + _NUMBER_END)
_SOLID = re.compile(_NUMBER + r"0(?!123456789(?![0-9]))[1-9][0-9]{8,9}" + _NUMBER_END)

LEAST_INTERNATIONAL: Final = 8
LEAST_UNDIVIDED: Final = 10
MOST_INTERNATIONAL: Final = 15
"""Digits of a number with its country's code. Source: ITU-T E.164; most countries' plans."""

NATIONAL: Final = range(9, 14)
"""Digits of a number that begins with its area's 0."""


def _phones(text: str) -> Iterator[Span]:
    for match in _INTERNATIONAL.finditer(text):
        if length := _international_length(match[0]):
            yield Span(match.start(), match.start() + length, PHONE)
    for match in _AMERICAN.finditer(text):
        yield Span(*match.span(), PHONE)
    for match in _WITH_AREA.finditer(text):
        if len(_digits_of(match[0])) in NATIONAL:
            yield Span(*match.span(), PHONE)
    for pattern in (_IN_PAIRS, _SOLID):
        for match in pattern.finditer(text):
            yield Span(*match.span(), PHONE)


def _international_length(text: str) -> int:
    """How many of the characters are a phone's number; other figures may follow. 0 where none."""
    ends = [group.end() for group in re.finditer("[0-9]+", text)]
    return next((end for end in reversed(ends) if _is_international(text[:end])), 0)


def _is_international(number: str) -> bool:
    """Whether that many digits, so divided, are a phone's number rather than a sum or a sign."""
    digits = _digits_of(number).removeprefix("00")
    gaps = re.sub("[0-9()+]", "", number)
    if not LEAST_INTERNATIONAL <= len(digits) <= MOST_INTERNATIONAL:
        return False
    if digits[0] in "17" and len(digits) != 11:  # North America, and Russia with Kazakhstan
        return False
    if "." in gaps and (gaps == "." or set(gaps) != {"."}):  # one decimal, or several
        return False
    return bool(gaps) or len(digits) >= LEAST_UNDIVIDED


def _digits_of(text: str) -> str:
    return re.sub("[^0-9]", "", text)


# Markers

_MARKER = re.compile("|".join(re.escape(marker) for marker in (SECRET, EMAIL, CARD, PHONE)))


def _markers(text: str) -> Iterator[Span]:
    """Of a text that was redacted before: a bound leaves each whole, too."""
    for match in _MARKER.finditer(text):
        yield Span(*match.span(), match[0])


_SEARCHES: Final[tuple[Callable[[str], Iterator[Span]], ...]] = (
    _secrets,
    _emails,
    _cards,
    _phones,
    _markers,
)
