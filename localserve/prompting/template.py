"""A model's chat template: a conversation in, the text of the prompt out.

Knows no tokens, and does not care whether the text begins with the BOS text: the tokenizing side
sees to it that there is one. Pure; any thread. It trusts neither template nor messages, but bounds
only the size of its output: the server renders through `localserve.prompting.sandbox`.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property

from jinja2 import TemplateSyntaxError, meta

from localserve.chat import Message, Tool
from localserve.errors import InvalidRequest, TemplateFailed
from localserve.prompting.environment import TemplateRaised, render_json, template_environment
from localserve.prompting.moment import moment
from localserve.prompting.prefill import prefill_text, split_prefill
from localserve.prompting.tool_words import tools_in_words
from localserve.prompting.turns import (
    REASONING_KEYS,
    Variables,
    accepted_forms,
    message_variables,
    tool_variables,
)

CHATML = """\
{%- for message in messages %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
"""What a caller may use for a model without a template: ChatML, without tools."""

OUTPUT_CHARACTERS = 1_000_000
"""How long a prompt may always be; four times the size of the input comes on top."""

RESERVED_OPTIONS = frozenset(
    {
        "messages",
        "tools",
        "functions",
        "add_generation_prompt",
        "continue_final_message",
        "bos_token",
        "eos_token",
        "raise_exception",
        "strftime_now",
    }
)
"""What a request's template options may not set."""

_PROBE = "ab12 cd34"
_OTHER_TEMPLATE = "Give another template for this model in models.toml."


@dataclass(frozen=True, slots=True)
class RenderRequest:
    """Everything that a prompt is made of.

    `template` is Jinja text, `bos` and `eos` the texts of these tokens. `options` are JSON-like
    values that the template reads as variables. `day` is what the template may know of the time
    (None: today); a whole day, so that prompts of one day share their prefix. With `whole` a last
    message of the assistant is rendered as a finished turn, instead of being continued.
    """

    template: str
    messages: tuple[Message, ...]
    bos: str = ""
    eos: str = ""
    tools: tuple[Tool, ...] = ()
    options: Mapping[str, object] = field(default_factory=dict)
    add_generation_prompt: bool = True
    day: date | None = None
    whole: bool = False


class ChatTemplate:
    """A compiled template, to be used for many conversations.

    Raises: TemplateFailed, naming the line, when `source` does not compile.
    """

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        self.source = source
        self._tokens: Variables = {"bos_token": bos, "eos_token": eos}
        environment = template_environment()
        try:
            self._template = environment.from_string(source)
            self._wanted = meta.find_undeclared_variables(environment.parse(source))
        except TemplateSyntaxError as error:
            raise TemplateFailed(
                f"The model's chat template does not compile: line {error.lineno}: {error.message}",
                hint=_OTHER_TEMPLATE,
            ) from None
        except MemoryError:
            raise
        except Exception as error:
            raise TemplateFailed(
                f"The model's chat template does not compile: {type(error).__name__}: {error}",
                hint=_OTHER_TEMPLATE,
            ) from None
        self._knows_tools = bool({"tools", "functions"} & self._wanted) or "tool_calls" in source
        self._reasoning_keys = tuple(
            key
            for key in REASONING_KEYS
            if key == REASONING_KEYS[0] or re.search(rf"""[.'"]{key}\b""", source)
        )

    def render(self, request: RenderRequest) -> str:
        """The prompt for `request`, whose template, BOS and EOS are those of this object.

        The template gets the messages as they are. Only when it refuses them, or leaves out what
        system or user say, it gets them in another form: system messages gathered, neighbours of
        one role joined. When the last message is the assistant's, the prompt ends with its words.
        To a template that knows nothing of tools they are told in words.

        Raises: TemplateFailed with the template's own message; InvalidRequest for options and
        messages that no template can render.
        """
        for name in RESERVED_OPTIONS & request.options.keys():
            raise InvalidRequest(
                f"The template option {name!r} is set by the server.", param="chat_template_kwargs"
            )
        messages, prefill = request.messages, None
        if not request.whole:
            messages, prefill = split_prefill(messages)
        if not self._knows_tools and _uses_tools(request):
            messages = tools_in_words(messages, request.tools)
        generation = request.add_generation_prompt or prefill is not None
        context = self._context(request, generation)
        limit = OUTPUT_CHARACTERS + 4 * _size(request)
        prompt = self._render_accepted(messages, context, limit)
        if prefill is None:
            return prompt
        return prompt + prefill_text(prefill, prompt, self.source)

    def _render_accepted(
        self, messages: tuple[Message, ...], context: Variables, limit: int
    ) -> str:
        """The first form that is rendered whole; else the first that is rendered at all."""
        refused: TemplateFailed | None = None
        partial: str | None = None
        for variables in self._forms(messages):
            try:
                prompt = self._run({**context, "messages": variables}, limit)
            except TemplateFailed as error:
                refused = refused or error
                continue
            if _keeps_words(messages, prompt):
                return prompt
            partial = partial or prompt
        if partial is not None:
            return partial
        raise refused or TemplateFailed("The model's chat template rendered nothing.")

    def _forms(self, messages: tuple[Message, ...]) -> Iterator[list[Variables]]:
        texts = (False, True) if any(message.tool_calls for message in messages) else (False,)
        for form in accepted_forms(messages):
            for arguments_as_text in texts:
                yield [
                    message_variables(
                        message,
                        reasoning_keys=self._reasoning_keys,
                        content_as_parts=self._wants_parts,
                        arguments_as_text=arguments_as_text,
                    )
                    for message in form
                ]

    @cached_property
    def _wants_parts(self) -> bool:
        """Whether the template shows content only when it is a list of typed parts."""

        def shows(parts: bool) -> bool:
            message = message_variables(Message("user", _PROBE), content_as_parts=parts)
            context = {**self._tokens, **moment(date.today()), "messages": [message]}
            try:
                return _PROBE in self._run(context, OUTPUT_CHARACTERS)
            except TemplateFailed:
                return False

        return not shows(False) and shows(True)

    def _context(self, request: RenderRequest, generation: bool) -> Variables:
        context = {**self._tokens, "add_generation_prompt": generation}
        context.update(moment(request.day or date.today()))
        tools = [tool_variables(tool) for tool in request.tools]
        if tools:
            context["tools"] = tools
        if "functions" in self._wanted:
            context["functions"] = render_json(tools, indent=4) if tools else ""
        context.update(request.options)
        return context

    def _run(self, context: Variables, limit: int) -> str:
        pieces: list[str] = []
        size = 0
        try:
            for piece in self._template.generate(context):
                size += len(piece)
                if size > limit:
                    break
                pieces.append(piece)
        except TemplateRaised as error:
            raise TemplateFailed(f"The model's chat template refused: {error}") from None
        except MemoryError:
            raise
        except Exception as error:
            raise TemplateFailed(
                f"The model's chat template failed in line {_line(error)}:"
                f" {type(error).__name__}: {error}"
            ) from None
        if size > limit:
            raise TemplateFailed(
                f"The model's chat template wrote more than {limit} characters, the limit for"
                " these messages."
            )
        return "".join(pieces)


def _uses_tools(request: RenderRequest) -> bool:
    return bool(request.tools) or any(
        message.tool_calls or message.role == "tool" for message in request.messages
    )


def _keeps_words(messages: tuple[Message, ...], prompt: str) -> bool:
    return all(
        (message.content or "").strip() in prompt
        for message in messages
        if message.role in ("system", "user")
    )


def _line(error: Exception) -> int | str:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == "<template>"]
    return lines[-1] or "?" if lines else "?"


def _size(request: RenderRequest) -> int:
    """Characters that the request brings along, roughly: enough to scale a limit."""
    size = sum(len(repr(tool)) for tool in request.tools) + len(repr(request.options))
    for message in request.messages:
        size += len(message.content or "") + len(message.reasoning or "")
        size += sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
    return size
