"""The description of the API, OpenAPI 3.1, from what is declared of the routes. Pure.

Source: https://spec.openapis.org/oas/v3.1.0. Schemas come from pydantic's models; where two
dialects give a model one name, it has the dialect's before it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from localserve.errors import LocalserveError
from localserve.gateway.paths import is_admin_path, is_open_path
from localserve.gateway.refusals import CrossSite, HostRefused, MediaTypeUnsupported
from localserve.server.errors import status_of
from localserve.server.openapi.declarations import DECLARED
from localserve.server.openapi.declared import JSON, KEYS, LIMITS, Declared, Errors
from localserve.server.openapi.headers import HEADERS, headers_of

DESCRIPTION = """\
Every path also answers with `/v1` before it, and those that have it without it, but for
`/completions` and `/embeddings`, which are llama-server's without it. Where the server has API
keys, each request needs one; paths below `/admin/` need one of the scope admin, `/metrics` and
`/health/details` one of the scope monitor or admin.

Errors have the form of their API. What is refused before its path is known has OpenAI's: no HTTP
(400), a head that is too large (431), too many connections (503).
"""

REFERENCE = "#/components/schemas/"

SCHEMES: Mapping[str, Mapping[str, str]] = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "As OpenAI's clients send it."},
    "x-api-key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
    "api-key": {"type": "apiKey", "in": "header", "name": "api-key"},
}

NEEDS_KEY: Sequence[Mapping[str, Sequence[str]]] = [{}, *({name: ()} for name in SCHEMES)]
"""None is needed on this machine while there is none."""

Document = dict[str, Any]


def openapi_document(version: str, server: str = "/") -> Document:
    """The whole description; `server` is where the application is mounted."""
    schemas, references = _schemas(DECLARED)
    paths: dict[str, Document] = {}
    for one in DECLARED:
        paths.setdefault(one.url, {})[one.method.lower()] = _operation(one, references)
    dialects = dict.fromkeys((one.dialect.name, one.dialect.description) for one in DECLARED)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "localserve",
            "version": version,
            "description": DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": server}],
        "security": NEEDS_KEY,
        "tags": [{"name": name, "description": text} for name, text in dialects],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": SCHEMES, "headers": HEADERS},
    }


References = Mapping[tuple[type[BaseModel], str], Mapping[str, Any]]


def _schemas(declared: Iterable[Declared]) -> tuple[Document, References]:
    """All schemas by name, and how each model refers to its own."""
    asked = {one.body: None for one in declared if one.body is not None}
    answered = {one.answer: None for one in declared if one.answer is not None}
    answered |= {one.dialect.problem: None for one in declared}
    modes: list[tuple[type[BaseModel], Literal["validation", "serialization"]]] = [
        *((model, "validation") for model in asked),
        *((model, "serialization") for model in answered),
    ]
    references, document = models_json_schema(modes, ref_template=REFERENCE + "{model}")
    names = _short_names(document["$defs"])
    return (
        {
            names[name]: {**_renamed(schema, names), "title": names[name]}
            for name, schema in document["$defs"].items()
        },
        {(model, mode): _renamed(references[model, mode], names) for model, mode in modes},
    )


def _short_names(long_names: Iterable[str]) -> dict[str, str]:
    """`localserve__dialects__ollama__chat__ChatBody` -> `OllamaChatBody`."""
    names: dict[str, str] = {}
    for long in long_names:
        *place, name = long.split("__")
        dialect = "".join(word.title() for word in place[2].split("_")) if len(place) > 2 else ""
        short = f"{dialect}{name}"
        if short in names.values():
            short = f"{dialect}{place[-1].title()}{name}"
        names[long] = short
    return names


def _renamed(schema: Any, names: Mapping[str, str]) -> Any:
    match schema:
        case {"$ref": str(reference)}:
            renamed = REFERENCE + names[reference.removeprefix(REFERENCE)]
            return {**schema, "$ref": renamed}
        case dict():
            return {key: _renamed(value, names) for key, value in schema.items()}
        case list():
            return [_renamed(value, names) for value in schema]
    return schema


def _operation(one: Declared, references: References) -> Document:
    operation: Document = {
        "operationId": one.operation,
        "summary": one.summary,
        "tags": [one.dialect.name],
        "responses": _responses(one, references),
    }
    if parameters := [*map(_in_path, one.parameters), *_in_query(one)]:
        operation["parameters"] = parameters
    if one.body is not None:
        content: Document = {"schema": references[one.body, "validation"]}
        if one.example is not None:
            content["example"] = one.example
        operation["requestBody"] = {"required": bool(one.example), "content": {JSON: content}}
    if is_open_path(one.path):
        operation["security"] = []
    return operation


def _in_path(name: str) -> Document:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(one: Declared) -> Iterator[Document]:
    """What `?name=` may say; of what may be left out, nothing is said by null."""
    if one.query is None:
        return
    asked = one.query.model_json_schema()
    for name, schema in asked["properties"].items():
        plain = {key: schema[key] for key in schema.keys() - {"title", "description", "anyOf"}}
        for choice in schema.get("anyOf", ()):
            if choice != {"type": "null"}:
                plain |= choice
        if plain.get("default", "") is None:
            del plain["default"]
        parameter: Document = {"name": name, "in": "query", "schema": plain}
        if "description" in schema:
            parameter["description"] = schema["description"]
        if name in asked.get("required", ()):
            parameter["required"] = True
        yield parameter


def _responses(one: Declared, references: References) -> Document:
    problem = {JSON: {"schema": references[one.dialect.problem, "serialization"]}}
    responses: Document = {}
    if not one.refused:
        responses["200"] = {
            "description": one.summary,
            "headers": headers_of(one, 200, ()),
            "content": _content(one, references),
        }
    for status, kinds in sorted(_by_status(one).items()):
        responses[str(status)] = {
            "description": _described(kinds),
            "headers": headers_of(one, status, kinds),
            "content": problem,
        }
    if one.also_failing:
        either = [content[JSON]["schema"] for content in (_content(one, references), problem)]
        responses["503"] |= {
            "headers": responses["200"]["headers"],
            "content": {JSON: {"schema": {"anyOf": either}}},
        }
    responses["default"] = {"description": "Any other error.", "content": problem}
    return responses


def _of_the_gateway(one: Declared) -> Errors:
    """What refuses requests before their route is asked."""
    refusals: Errors = (HostRefused,) if one.method == "GET" else (HostRefused, CrossSite)
    if is_admin_path(one.path):
        refusals += (MediaTypeUnsupported,)
    return refusals if is_open_path(one.path) else (*refusals, *KEYS, *LIMITS)


def _content(one: Declared, references: References) -> Document:
    """By media type. A stream has no schema: 3.1 has none for its single events."""
    content: Document = {}
    if one.answer is not None:
        content[JSON] = {"schema": references[one.answer, "serialization"]}
    content |= {media: {"schema": {"type": "string"}} for media in one.texts}
    if one.stream is not None:
        content[one.stream] = {}
    return content


def _by_status(one: Declared) -> dict[int, list[type[LocalserveError]]]:
    """The kinds of errors of a route."""
    found: dict[int, list[type[LocalserveError]]] = {}
    for kind in dict.fromkeys((*one.errors, *_of_the_gateway(one))):
        found.setdefault(one.dialect.status(kind, status_of(kind)), []).append(kind)
    return found


def _described(kinds: Iterable[type[LocalserveError]]) -> str:
    """The codes, each with what it means."""
    return "\n".join(f"- `{kind.code}`: {kind.description}" for kind in kinds)
