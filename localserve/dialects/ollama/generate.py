"""`POST /api/generate`: one prompt, as a turn of a chat, as it is (`raw`), or with a `suffix`.

Knows nothing of HTTP and of templates. Any thread.
"""

from __future__ import annotations

import re
from typing import Any

from localserve.chat import ChatRequest, CompletionRequest, Message
from localserve.dialects.ollama.asked import Asked
from localserve.dialects.ollama.options import AnswerBody, refuse_images, unsupported
from localserve.dialects.schema import read_json

Generate = ChatRequest | CompletionRequest
"""Through the model's chat template, or without it."""

_PROMPT_ALONE = re.compile(r"\s*\{\{-?\s*\.Prompt\s*-?\}\}\s*")
"""A template that adds nothing to the prompt."""


class GenerateBody(AnswerBody):
    prompt: str | None = None
    suffix: str | None = None
    system: str | None = None
    template: str | None = None
    context: Any = None
    raw: bool | None = None
    images: Any = None


def parse_generate(body: bytes) -> Asked[Generate]:
    """Read a request; without a `model` its name is "", without a prompt it is empty.

    A `template` is a hint: one that is nothing but the prompt makes it raw, others have no effect,
    because the model's own one is in another language. Raises: InvalidRequest, InvalidSchema,
    UnsupportedField.
    """
    generate = read_json(GenerateBody, body)
    refuse_images(generate.images, "images")
    if generate.context not in (None, []):
        raise unsupported("context", "Send the conversation to /api/chat.")
    request = _request(generate)
    empty = not generate.prompt and not generate.suffix
    return Asked(request, model=request.model, stream=generate.streams, empty=empty)


def _request(generate: GenerateBody) -> Generate:
    model, prompt = generate.model or "", generate.prompt or ""
    generation, keep_alive = generate.generation(), generate.keep_alive
    raw = generate.raw or _PROMPT_ALONE.fullmatch(generate.template or "")
    if generate.suffix or raw:
        return CompletionRequest(
            model=model,
            prompts=(prompt,),
            suffix=generate.suffix or None,
            generation=generation,
            priority=generate.wanted_priority,
            deadline_seconds=generate.deadline_seconds,
            keep_alive_seconds=keep_alive,
        )
    system = (Message("system", generate.system),) if generate.system else ()
    return ChatRequest(
        model=model,
        messages=(*system, Message("user", prompt)),
        template_options=generate.template_options(),
        generation=generation,
        priority=generate.wanted_priority,
        deadline_seconds=generate.deadline_seconds,
        keep_alive_seconds=keep_alive,
    )
