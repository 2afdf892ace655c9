"""Which of several should have a conversation, so that all its turns meet the same kept prefix.

Pure; knows nothing of what the several are.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import Final

from localserve.chat import (
    ChatRequest,
    CompletionRequest,
    EmbeddingRequest,
    InfillRequest,
    RerankRequest,
)

BEGINNING_CHARACTERS: Final = 1024


def beginning_of(request: object) -> str:
    """What all turns of a conversation share, hashed: its scope and its messages up to the first of
    the user. Of other questions it is how their text begins."""
    hashed = hashlib.blake2b(digest_size=16)
    for part in _beginning(request):
        hashed.update(f"\0{part}".encode("utf-8", "replace"))
    return hashed.hexdigest()


def _beginning(request: object) -> Iterator[str]:
    match request:
        case ChatRequest(messages=messages, scope=scope):
            yield scope
            for message in messages:
                yield f"{message.role}\0{message.content}"
                if message.role == "user":
                    return
        case CompletionRequest(prompts=prompts, scope=scope):
            yield scope
            yield str(prompts[0])[:BEGINNING_CHARACTERS] if prompts else ""
        case InfillRequest(prefix=prefix, scope=scope):
            yield scope
            yield prefix[:BEGINNING_CHARACTERS]
        case EmbeddingRequest(inputs=inputs):
            yield str(inputs[0])[:BEGINNING_CHARACTERS] if inputs else ""
        case RerankRequest(query=query):
            yield query[:BEGINNING_CHARACTERS]
        case _:
            return


def drawn(conversation: str, name: str, weight: float) -> float:
    """A number that is the smallest among several names in proportion to their weights, and the
    same for the same conversation. A name that goes changes nothing among the others.

    Source: weighted rendezvous hashing (Schindelhauer and Schomaker, 2005).
    """
    digest = hashlib.blake2b(f"{conversation}\0{name}".encode(), digest_size=8).digest()
    share = (int.from_bytes(digest, "big") + 1) / ((1 << 64) + 1)
    return -math.log(share) / weight
