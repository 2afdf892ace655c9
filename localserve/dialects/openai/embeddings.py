"""`POST /v1/embeddings`: from the body to an EmbeddingRequest, and from vectors to the answer.

Knows nothing of HTTP. Any thread; large ones are better handled off the event loop.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from localserve.chat import EmbeddingAnswer, EmbeddingRequest, Prompt
from localserve.dialects.openai.completions import Tokens
from localserve.dialects.openai.refusals import refuse_unsupported
from localserve.dialects.schema import WireBody, read_json
from localserve.errors import InvalidRequest

MAX_INPUTS = 2048
"""Of one request, as at OpenAI."""

Encoding = Literal["float", "base64"]

Inputs = Annotated[list[str | Tokens], Field(min_length=1, fail_fast=True)]


class EmbeddingBody(WireBody):
    input: str | Tokens | Inputs
    model: str | None = None
    encoding_format: Encoding | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None


@dataclass(frozen=True, slots=True)
class AskedEmbedding:
    """The request, and how the numbers are to be written."""

    request: EmbeddingRequest
    encoding: Encoding

    def render(self, answer: EmbeddingAnswer) -> bytes:
        """The body of the answer."""
        write = _base64 if self.encoding == "base64" else _numbers
        data = [
            {"object": "embedding", "index": index, "embedding": write(vector)}
            for index, vector in enumerate(answer.vectors)
        ]
        usage = {"prompt_tokens": answer.prompt_tokens, "total_tokens": answer.prompt_tokens}
        fields = {"object": "list", "data": data, "model": answer.model, "usage": usage}
        return json.dumps(fields, separators=(",", ":")).encode()


def parse_embedding(body: bytes) -> AskedEmbedding:
    """Read a request; without a `model` its name is "".

    Raises: InvalidRequest, InvalidSchema, UnsupportedField.
    """
    embedding = read_json(EmbeddingBody, body)
    refuse_unsupported(embedding.model_extra or {})
    inputs = _inputs(embedding.input)
    if len(inputs) > MAX_INPUTS:
        raise InvalidRequest(
            f"There are {len(inputs)} inputs; one request may have {MAX_INPUTS}.",
            param="input",
            hint="Send several requests.",
        )
    for index, text in enumerate(inputs):
        if not text:
            which = f"input[{index}]" if len(inputs) > 1 else "the input"
            raise InvalidRequest(
                f"Nothing can be said of an empty text, and {which} is one.",
                param="input",
                hint="Leave it out.",
            )
    request = EmbeddingRequest(embedding.model or "", inputs, embedding.dimensions)
    return AskedEmbedding(request, embedding.encoding_format or "float")


def _inputs(given: str | list[int] | list[str | list[int]]) -> tuple[Prompt, ...]:
    if isinstance(given, str):
        return (given,)
    tokens = tuple(one for one in given if isinstance(one, int))
    if tokens:
        return (tokens,)
    return tuple(
        tuple(one) if isinstance(one, list) else one for one in given if not isinstance(one, int)
    )


def _numbers(vector: npt.NDArray[np.float32]) -> list[float]:
    numbers: list[float] = vector.tolist()
    return numbers


def _base64(vector: npt.NDArray[np.float32]) -> str:
    """Little-endian 32-bit floats."""
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()
