"""`POST /embedding`, and `/embeddings` without `/v1`: from bodies to requests, and back.

The answer is a list with a row of numbers for each input: what is pooled has a single row. Knows
nothing of HTTP. Any thread; large ones are better handled off the event loop.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from localserve.chat import EmbeddingAnswer, EmbeddingRequest
from localserve.dialects.bounds import Name
from localserve.dialects.llama_server.prompts import read_prompts
from localserve.dialects.schema import WireBody, read_json
from localserve.errors import InvalidRequest

MAX_INPUTS = 2_048
"""Of one request."""


class EmbeddingBody(WireBody):
    """`content` is another name of `input`."""

    model: Name | None = None
    input: Any = None
    content: Any = None
    encoding_format: Literal["float", "base64"] | None = None


@dataclass(frozen=True, slots=True)
class AskedVectors:
    """Vectors are wanted, as numbers or as the bytes of floats of 32 bits."""

    request: EmbeddingRequest
    as_bytes: bool

    def render(self, answer: EmbeddingAnswer) -> bytes:
        """The answer's body."""
        vectors = answer.vectors.astype(np.float32)
        rows = [
            {"index": index, "embedding": [_bytes(row) if self.as_bytes else row.tolist()]}
            for index, row in enumerate(vectors)
        ]
        return json.dumps(rows, separators=(",", ":")).encode()


def parse_embedding(body: bytes) -> AskedVectors:
    """Read a request. Raises: InvalidRequest, InvalidSchema."""
    wire = read_json(EmbeddingBody, body)
    inputs = read_prompts(wire.content if wire.input is None else wire.input, "input")
    if len(inputs) > MAX_INPUTS:
        raise InvalidRequest(
            f"There are {len(inputs)} inputs; one request may have {MAX_INPUTS}.",
            param="input",
            hint="Send several requests.",
        )
    request = EmbeddingRequest(wire.model or "", inputs)
    return AskedVectors(request, wire.encoding_format == "base64")


def _bytes(row: np.ndarray[Any, np.dtype[np.float32]]) -> str:
    return base64.b64encode(row.astype("<f4").tobytes()).decode()
