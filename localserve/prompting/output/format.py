"""How models of one family write: markers and the shape of their tool calls. Frozen values.

A format is derived from a model's chat template (`derive`), or is one of those that no template
shows (`families`). Markers are texts without white space around them; white space between markers
never matters to a parser, except within values.
"""

from __future__ import annotations

from dataclasses import dataclass, field

NAME_KEYS = frozenset({"name", "tool_name", "function_name"})
ARGUMENTS_KEYS = frozenset({"arguments", "parameters", "args"})
ID_KEYS = frozenset({"id", "tool_call_id", "call_id"})


@dataclass(frozen=True, slots=True)
class Span:
    """What lies between two markers, each of which may be empty."""

    open: str = ""
    close: str = ""


@dataclass(frozen=True, slots=True)
class JsonCalls:
    """Calls as JSON objects, alone, one after another or in a list.

    With `named_by_key` a call is `{name: arguments}`. With `id_late` an id follows the name.
    """

    name_keys: frozenset[str] = NAME_KEYS
    arguments_keys: frozenset[str] = ARGUMENTS_KEYS
    id_keys: frozenset[str] = ID_KEYS
    named_by_key: bool = False
    id_late: bool = False


@dataclass(frozen=True, slots=True)
class NamedCalls:
    """A name, perhaps an id, then the arguments as a JSON object.

    `name_end` stands between name and arguments; `id_mark`, where there is one, between the name
    and an id that precedes `name_end`. With `id_first` it is the other way round: the id, the mark,
    the name. With `name_in_id` the name is written as `functions.NAME:INDEX`, which is the id too.
    """

    name_end: str = ""
    id_mark: str = ""
    id_first: bool = False
    name_in_id: bool = False


@dataclass(frozen=True, slots=True)
class TaggedCalls:
    """A name, then each argument between markers of its own.

    `name_end` ends the name's tag. An argument is `key_open` key `key_end` value `value_close`; a
    `{key}` in `value_close` stands for the key. `lines` says that a value has a line break on both
    sides that is not a part of it. Where `string_mark` is given, only values are strings in whose
    tag it stands, else the tool's schema says what is one. `nested` values are tags again, and
    lists have the tag `item`. With `cdata` a value may be wrapped in `<![CDATA[` and `]]>`.
    """

    name_end: str
    key_open: str
    key_end: str
    value_close: str
    lines: bool = False
    string_mark: str = ""
    nested: bool = False
    cdata: bool = False


@dataclass(frozen=True, slots=True)
class LiteralCalls:
    """A name, then arguments as `key=value` in parentheses, or as an object with bare keys.

    Values are Python's or JSON's literals; strings may also stand between two `quote` markers, and
    then nothing is escaped in them.
    """

    arguments: Span = field(default_factory=lambda: Span("(", ")"))
    assign: str = "="
    quote: str = ""


CallForm = JsonCalls | NamedCalls | TaggedCalls | LiteralCalls


@dataclass(frozen=True, slots=True)
class ToolCalls:
    """`section` lies around all calls of a turn, `each` around one.

    A `bare` call has no marker before it: the answer begins with it.
    """

    form: CallForm
    section: Span = Span()
    each: Span = Span()
    bare: bool = False


@dataclass(frozen=True, slots=True)
class Addressed:
    """An answer that is made of messages with an addressee.

    A message begins with `start` (the first one's start ends the prompt), then comes its head,
    then `head_end`, its text, and one of `ends`, or the next `start`. Where `recipient_mark` is
    empty the head is the recipient.
    """

    start: str
    head_end: str
    ends: tuple[str, ...] = ()
    recipient_mark: str = ""
    tool_prefix: str = ""


@dataclass(frozen=True, slots=True)
class OutputFormat:
    """Everything that a parser has to know of a model.

    `header` begins the assistant's turn in a prompt. `reasoning` without an `open` begins with the
    answer. `content` may lie between markers, which are left out, as are the `ends` of a turn.
    """

    header: str = ""
    reasoning: Span = Span("<think>", "</think>")
    content: Span = Span()
    calls: ToolCalls | None = None
    ends: tuple[str, ...] = ()
    addressed: Addressed | None = None

    @property
    def markers(self) -> tuple[str, ...]:
        """All texts that may be special tokens."""
        spans = [self.reasoning, self.content]
        found = [*self.ends]
        if self.calls is not None:
            spans += [self.calls.section, self.calls.each]
            form = self.calls.form
            if isinstance(form, NamedCalls):
                found += [form.name_end, form.id_mark]
            elif isinstance(form, TaggedCalls):
                found += [form.name_end, form.key_open, form.key_end, form.value_close]
            elif isinstance(form, LiteralCalls):
                found.append(form.quote)
        if self.addressed is not None:
            found += [self.addressed.start, self.addressed.head_end, *self.addressed.ends]
        found += [text for span in spans for text in (span.open, span.close)]
        return tuple(dict.fromkeys(text for text in found if text))
