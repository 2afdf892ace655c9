"""`POST /completion`, and `/completions` without `/v1`: from the body to a CompletionRequest.

Knows nothing of HTTP. Any thread.
"""

from __future__ import annotations

from typing import Any

from localserve.chat import CompletionRequest
from localserve.dialects.llama_server.asked import Asked, telling_of
from localserve.dialects.llama_server.body import AnswerBody
from localserve.dialects.llama_server.prompts import read_prompts
from localserve.dialects.schema import read_json
from localserve.errors import InvalidRequest

MAX_ANSWERS = 128
"""Prompts times choices."""


class CompletionBody(AnswerBody):
    prompt: Any


def parse_completion(body: bytes) -> Asked[CompletionRequest]:
    """Read a request; without a `model` its name is "".

    Raises: InvalidRequest, InvalidSchema, UnsupportedField.
    """
    completion = read_json(CompletionBody, body)
    completion.check()
    prompts = read_prompts(completion.prompt)
    generation = completion.generation()
    answers = len(prompts) * generation.choices
    if answers > MAX_ANSWERS:
        raise InvalidRequest(
            f"{len(prompts)} prompts times {generation.choices} choices are {answers} answers;"
            f" at most {MAX_ANSWERS} can be asked for at once.",
            param="prompt",
            hint="Send several requests.",
        )
    request = CompletionRequest(
        completion.model or "",
        prompts,
        generation=generation,
        priority=completion.wanted_priority,
        deadline_seconds=completion.deadline_seconds,
        file=completion.file or None,
        user=completion.user_name,
    )
    return Asked(request, answers, telling_of(completion))
