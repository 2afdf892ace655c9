"""The sandboxed Jinja environment in which a model's chat template is compiled.

Knows what chat templates expect of their surroundings (filters, tags, functions), nothing of
messages. Pure; any thread. The sandbox keeps a template away from Python's internals; it does not
bound time or memory, which is why rendering happens in a child process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import GeneratorType
from typing import NoReturn

from jinja2 import TemplateError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment


class TemplateRaised(TemplateError):
    """The template called `raise_exception`; the message is the template's own."""


def template_environment() -> ImmutableSandboxedEnvironment:
    """A new environment with everything that chat templates in the wild rely on."""
    environment = _Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[loopcontrols, GenerationBlock],
    )
    environment.filters["tojson"] = render_json
    environment.globals["raise_exception"] = raise_exception
    return environment


def raise_exception(message: object = "") -> NoReturn:
    """What a template calls to refuse the messages.

    Raises: TemplateRaised, always.
    """
    raise TemplateRaised(str(message))


def render_json(
    value: object,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """The `tojson` filter: plain JSON, not escaped for HTML, and taking generators as lists."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
        default=_plain,
    )


def _plain(value: object) -> object:
    if isinstance(value, GeneratorType):
        return list(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, in which a template may use a list as a queue: some match results to calls so.

    A hostile one can change the lists of a request that way, but only for itself: in the server
    they are the rendering child's own copies.
    """

    def is_safe_attribute(self, obj: object, attr: str, value: object) -> bool:
        if isinstance(obj, list) and attr in ("append", "pop"):
            return True
        return super().is_safe_attribute(obj, attr, value)


class GenerationBlock(Extension):
    """`{% generation %}`, which marks a model's words for training; here its body is passed on."""

    tags = {"generation"}  # noqa: RUF012 (the base class declares it so)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("_body"), [], [], body).set_lineno(line)

    def _body(self, caller: Callable[[], str]) -> str:
        return caller()
