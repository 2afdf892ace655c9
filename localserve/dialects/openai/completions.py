"""`POST /v1/completions`: from the body to a CompletionRequest.

The prompt is taken as it is: no template, one text or many, as text or as token ids. Knows nothing
of HTTP. Any thread.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from localserve.chat import CompletionRequest, Prompt
from localserve.dialects.openai.asked import Asked
from localserve.dialects.openai.generation import GenerationBody
from localserve.dialects.openai.refusals import refuse_unsupported, unsupported
from localserve.dialects.schema import read_json
from localserve.dialects.urgency import EditorFields
from localserve.errors import InvalidRequest

MAX_LOGPROBS = 20

MAX_ANSWERS = 128
"""Prompts times `n`."""

Token = Annotated[int, Field(ge=0, le=(1 << 31) - 1)]
Tokens = Annotated[list[Token], Field(min_length=1, fail_fast=True)]
Texts = Annotated[list[str], Field(min_length=1, fail_fast=True)]
TokenLists = Annotated[list[Tokens], Field(min_length=1, fail_fast=True)]
"""Of a list of millions the first wrong element is told, and not all of them."""


class CompletionBody(EditorFields, GenerationBody):
    prompt: str | Texts | Tokens | TokenLists
    suffix: str | None = None
    echo: bool | None = None
    logprobs: Annotated[int, Field(ge=0, le=MAX_LOGPROBS)] | None = None
    best_of: int | None = None


def parse_completion(body: bytes) -> Asked[CompletionRequest]:
    """Read a text completion request; without a `model` its name is "". An empty `suffix` or `file`
    is none.

    Raises: InvalidRequest, InvalidSchema, UnsupportedField.
    """
    completion = read_json(CompletionBody, body)
    refuse_unsupported(completion.model_extra or {})
    prompts = _prompts(completion)
    _check(completion, len(prompts))
    request = CompletionRequest(
        model=completion.model or "",
        prompts=prompts,
        suffix=completion.suffix or None,
        echo=bool(completion.echo),
        generation=completion.generation(top_logprobs=completion.logprobs),
        priority=completion.wanted_priority,
        deadline_seconds=completion.deadline_seconds,
        file=completion.file or None,
        user=completion.user_name,
    )
    return Asked(
        request,
        choices=len(prompts) * request.generation.choices,
        stream=bool(completion.stream),
        include_usage=completion.wants_usage,
        extras=completion.extras,
    )


def _prompts(completion: CompletionBody) -> tuple[Prompt, ...]:
    prompt = completion.prompt
    if isinstance(prompt, str):
        return (prompt,)
    if isinstance(prompt[0], int):
        return (tuple(prompt),)
    return tuple(tuple(one) if isinstance(one, list) else one for one in prompt)


def _check(completion: CompletionBody, prompts: int) -> None:
    choices = completion.n or 1
    if prompts * choices > MAX_ANSWERS:
        raise InvalidRequest(
            f"{prompts} prompts times {choices} choices are {prompts * choices} answers;"
            f" at most {MAX_ANSWERS} can be asked for at once.",
            param="prompt",
            hint="Send several requests.",
        )
    if completion.best_of is not None and completion.best_of > choices:
        raise unsupported("best_of", f"It is {completion.best_of}; n is {choices}.")
    if completion.echo and completion.logprobs is not None:
        raise unsupported("logprobs", "It is not supported together with echo.")
    if completion.echo and completion.suffix:
        raise unsupported("echo", "It is not supported together with suffix.")
