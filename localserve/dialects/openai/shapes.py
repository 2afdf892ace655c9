"""The many fields that say what an answer has to look like, as one shape.

OpenAI's `response_format`; `guided_...` and `structured_outputs` as vLLM names them; `grammar` and
`json_schema` as llama-server does; `regex` and `ebnf` as SGLang does. Knows nothing of grammars.
Any thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import Field

from localserve.chat import ChoiceShape, GrammarShape, JsonShape, RegexShape, Shape
from localserve.dialects.openai.refusals import unsupported
from localserve.dialects.schema import WireModel
from localserve.dialects.schemas import ANY_OBJECT, Schema, schema_text
from localserve.errors import InvalidRequest

MAX_CHOICES = 4_096
"""Texts to choose from."""

Choices = Annotated[list[str], Field(min_length=1, max_length=MAX_CHOICES)]


class NamedSchema(WireModel):
    schema_: Annotated[Schema | None, Field(alias="schema")] = None


class ResponseFormat(WireModel):
    type: str = "text"
    json_schema: NamedSchema | None = None
    schema_: Annotated[Schema | None, Field(alias="schema")] = None


class StructuredOutputs(WireModel):
    json_: Annotated[Schema | None, Field(alias="json")] = None
    json_object: bool | None = None
    regex: str | None = None
    choice: Choices | None = None
    grammar: str | None = None
    structural_tag: Any = None


class ShapeFields(WireModel):
    """Fields of a body; one of them may be given."""

    response_format: ResponseFormat | None = None
    structured_outputs: StructuredOutputs | None = None
    guided_json: Schema | None = None
    guided_regex: str | None = None
    guided_choice: Choices | None = None
    guided_grammar: str | None = None
    grammar: str | None = None
    json_schema: Schema | None = None
    regex: str | None = None
    ebnf: str | None = None

    def shape(self) -> Shape | None:
        """The shape that is asked for; None is free text. An empty text asks for nothing.

        Raises: InvalidRequest (two are asked for, a schema is missing), UnsupportedField.
        """
        shapes = list(self._shapes())
        if len(shapes) > 1:
            first, second = shapes[0].field, shapes[1].field
            raise InvalidRequest(
                f"{first} and {second} both say what the answer has to look like.",
                param=second,
                hint="Send one of them.",
            )
        return shapes[0] if shapes else None

    def _shapes(self) -> Iterator[Shape]:
        if self.response_format is not None:
            yield from _of_response_format(self.response_format)
        if self.structured_outputs is not None:
            yield from _of_structured_outputs(self.structured_outputs)
        for name in ("guided_json", "json_schema"):
            if (schema := getattr(self, name)) is not None:
                yield JsonShape(schema_text(schema), name)
        for name in ("guided_regex", "regex"):
            if pattern := getattr(self, name):
                yield RegexShape(pattern, name)
        for name in ("guided_grammar", "grammar", "ebnf"):
            if grammar := getattr(self, name):
                yield GrammarShape(grammar, name)
        if self.guided_choice is not None:
            yield ChoiceShape(tuple(self.guided_choice), "guided_choice")


def _of_response_format(asked: ResponseFormat) -> Iterator[Shape]:
    """Source: OpenAI; `schema` beside `json_object` is llama-server's."""
    schema = asked.schema_
    match asked.type:
        case "text":
            return
        case "json_object":
            yield JsonShape(ANY_OBJECT if schema is None else schema_text(schema))
        case "json_schema":
            if schema is None and asked.json_schema is not None:
                schema = asked.json_schema.schema_
            if schema is None:
                raise InvalidRequest(
                    "response_format asks for a json_schema and has none.",
                    param="response_format.json_schema.schema",
                    hint='Send {"type": "json_schema", "json_schema": {"name": ..., "schema":'
                    " {...}}}.",
                )
            yield JsonShape(schema_text(schema))
        case other:
            raise unsupported(
                "response_format",
                f'Its type is {other[:64]!r}; "text", "json_object" and "json_schema" are'
                " supported.",
            )


def _of_structured_outputs(asked: StructuredOutputs) -> Iterator[Shape]:
    if asked.structural_tag is not None:
        raise unsupported("structured_outputs.structural_tag", "Send a grammar.")
    if asked.json_ is not None:
        yield JsonShape(schema_text(asked.json_), "structured_outputs.json")
    if asked.json_object:
        yield JsonShape(ANY_OBJECT, "structured_outputs.json_object")
    if asked.regex:
        yield RegexShape(asked.regex, "structured_outputs.regex")
    if asked.choice is not None:
        yield ChoiceShape(tuple(asked.choice), "structured_outputs.choice")
    if asked.grammar:
        yield GrammarShape(asked.grammar, "structured_outputs.grammar")
