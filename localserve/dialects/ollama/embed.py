"""`POST /api/embed` and its older form `/api/embeddings`: texts in, vectors out.

Knows nothing of HTTP. Any thread; large ones are better handled off the event loop.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from localserve.chat import EmbeddingAnswer, EmbeddingRequest
from localserve.dialects.bounds import Name
from localserve.dialects.ollama.keep_alive import KeepAlive
from localserve.dialects.ollama.options import Whole
from localserve.dialects.ollama.times import Clock, nanoseconds
from localserve.dialects.schema import WireBody, read_json
from localserve.errors import InvalidRequest

MAX_INPUTS = 2048
"""Of one request."""

Inputs = Annotated[list[str], Field(fail_fast=True)]


class EmbedBody(WireBody):
    """`truncate` needs no field: nothing is truncated, and what is too long is refused."""

    model: Name | None = None
    input: str | Inputs | None = None
    dimensions: Annotated[int, Whole, Field(ge=1)] | None = None
    keep_alive: KeepAlive = None


class EmbeddingBody(WireBody):
    model: Name | None = None
    prompt: str | None = None
    keep_alive: KeepAlive = None


@dataclass(frozen=True, slots=True)
class AskedEmbed:
    """The request, and how its answer is written. Without inputs it only loads the model.

    `model` is the name as it was written. `alone` is the older form: one vector and nothing else.
    With a `clock` the answer says how long it took.
    """

    request: EmbeddingRequest
    model: str
    alone: bool = False
    clock: Clock | None = None

    def render(self, answer: EmbeddingAnswer) -> bytes:
        """The body of the answer."""
        vectors: list[list[float]] = answer.vectors.tolist()
        if self.alone:
            fields: dict[str, object] = {"embedding": vectors[0] if vectors else []}
        else:
            fields = {"model": self.model or answer.model, "embeddings": vectors}
            if self.clock is not None:
                fields["total_duration"] = nanoseconds(self.clock.elapsed_ms)
                fields["load_duration"] = nanoseconds(self.clock.load_ms)
            fields["prompt_eval_count"] = answer.prompt_tokens
        return json.dumps(fields, separators=(",", ":")).encode()


def parse_embed(body: bytes) -> AskedEmbed:
    """Read a request; without a `model` its name is "".

    Raises: InvalidRequest, InvalidSchema.
    """
    embed = read_json(EmbedBody, body)
    given = [embed.input] if isinstance(embed.input, str) else embed.input or []
    inputs = tuple(given) if given != [""] else ()
    if len(inputs) > MAX_INPUTS:
        raise InvalidRequest(
            f"There are {len(inputs)} inputs; one request may have {MAX_INPUTS}.",
            param="input",
            hint="Send several requests.",
        )
    for index, text in enumerate(inputs):
        if not text:
            raise InvalidRequest(
                f"Nothing can be said of an empty text, and input[{index}] is one.",
                param="input",
                hint="Leave it out.",
            )
    model = embed.model or ""
    request = EmbeddingRequest(model, inputs, embed.dimensions, embed.keep_alive)
    return AskedEmbed(request, model)


def parse_embedding(body: bytes) -> AskedEmbed:
    """Read a request of the older form. Raises: InvalidRequest, InvalidSchema."""
    embedding = read_json(EmbeddingBody, body)
    model = embedding.model or ""
    inputs = (embedding.prompt,) if embedding.prompt else ()
    request = EmbeddingRequest(model, inputs, keep_alive_seconds=embedding.keep_alive)
    return AskedEmbed(request, model, alone=True)
