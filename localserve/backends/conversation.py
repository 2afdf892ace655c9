"""How the loaded model writes: its template's format, and the parsers for its answers.

Lives on the event loop. A format is derived once for each template, or again where the machine had
no time for it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from localserve.chat import ChatRequest
from localserve.engine.budget import ReasoningBudget
from localserve.prompting.output.format import OutputFormat
from localserve.prompting.output.parser import AnswerParser
from localserve.prompting.output.schema import rooted
from localserve.prompting.output.source import read_format
from localserve.prompting.output.start import begun_text
from localserve.prompting.prefill import split_prefill
from localserve.prompting.sandbox import TemplateProcess
from localserve.prompting.template import RenderRequest


class SpecialTokens(Protocol):
    """What is needed of a vocabulary. Safe on any thread."""

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]: ...

    def spelling(self, token: int) -> bytes: ...

    def is_special(self, token: int) -> bool: ...


log = logging.getLogger(__name__)

LOOK_AGAIN_SECONDS = 60.0
"""A template whose probes did not end in time is probed again after so long: a machine may stall,
as behind the load of a large model."""


@dataclass(frozen=True, slots=True)
class Style:
    """A format, and the special tokens among its markers with their bytes."""

    format: OutputFormat
    special: Mapping[int, bytes]


class Conversation:
    """Renders the prompts of one model and makes parsers for its answers."""

    def __init__(
        self, templates: TemplateProcess, vocabulary: SpecialTokens, *, bos: str, eos: str
    ) -> None:
        self._templates = templates
        self._vocabulary = vocabulary
        self._bos = bos
        self._eos = eos
        self._style: tuple[str, Style, float] | None = None
        self._deriving = asyncio.Lock()

    async def prompt(
        self, request: ChatRequest, template: str, *, generation_prompt: bool = True
    ) -> str:
        """The text of the prompt; without `generation_prompt` it ends behind the last message.

        Raises as `TemplateProcess.render`.
        """
        text = await self._templates.render(
            RenderRequest(
                template=template,
                messages=request.messages,
                bos=self._bos,
                eos=self._eos,
                tools=request.tools,
                options=request.template_options,
                add_generation_prompt=generation_prompt,
                whole=not request.continue_last,
            )
        )
        if request.tools and not any(tool.name in text for tool in request.tools):
            log.warning(
                "The chat template shows the model none of its %d tools", len(request.tools)
            )
        return text

    async def style(self, template: str) -> Style:
        """How the model with this template writes. Raises: Overloaded, Unavailable."""
        clock = asyncio.get_running_loop().time
        async with self._deriving:
            if self._style is not None:
                known, style, until = self._style
                if known == template and clock() < until:
                    return style
            style, in_time = await self._read(template)
            until = math.inf if in_time else clock() + LOOK_AGAIN_SECONDS
            self._style = template, style, until
            return style

    def budget(self, request: ChatRequest, style: Style, inside: bool) -> ReasoningBudget | None:
        """The limit of the answer's reasoning; `inside` says that it has begun."""
        marks = style.format.reasoning
        if request.reasoning_tokens is None or not marks.close:
            return None
        ending = f"\n{marks.close}\n\n" if marks.close.startswith("</") else marks.close
        return ReasoningBudget(
            tokens=request.reasoning_tokens,
            opening=marks.open.encode(),
            closing=marks.close.encode(),
            ending=tuple(self._vocabulary.tokenize(ending, add_special=False, parse_special=True)),
            inside=inside,
        )

    def parser(self, request: ChatRequest, style: Style, prompt: str) -> Callable[[], AnswerParser]:
        """Makes parsers for the answers to `prompt`, which may have begun them already."""
        tools = {tool.name: rooted(tool.parameters) for tool in request.tools}
        special = [spelling.decode("utf-8", "replace") for spelling in style.special.values()]
        prefill = split_prefill(request.messages)[1] if request.continue_last else None
        begun = begun_text(style.format, prompt, prefill)

        def make() -> AnswerParser:
            parser = AnswerParser(
                style.format,
                tools,
                special=special,
                reasoning_apart=request.reasoning_apart,
                calls_only=bool(tools) and request.calls.required,
            )
            parser.begin(begun)
            return parser

        return make

    async def _read(self, template: str) -> tuple[Style, bool]:
        """With whether it was read in time."""
        found = await read_format(self._templates, template, bos=self._bos, eos=self._eos)
        special = await asyncio.to_thread(self._special, found.format)
        return Style(found.format, special), found.in_time

    def _special(self, format: OutputFormat) -> dict[int, bytes]:
        found = {
            token
            for marker in format.markers
            for token in self._vocabulary.tokenize(marker, add_special=False, parse_special=True)
            if self._vocabulary.is_special(token)
        }
        return {token: self._vocabulary.spelling(token) for token in found}
