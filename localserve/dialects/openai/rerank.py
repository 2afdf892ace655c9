"""`POST /v1/rerank`: Jina's and Cohere's form, and that of text-embeddings-inference (`texts`).

OpenAI has no such route; clients of OpenAI-compatible servers read `data` or `results`, so both are
there. Knows nothing of HTTP. Any thread.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from localserve.chat import RerankAnswer, RerankRequest
from localserve.dialects.openai.refusals import refuse_unsupported, unsupported
from localserve.dialects.schema import WireBody, WireModel, read_json
from localserve.errors import InvalidRequest

MAX_DOCUMENTS = 2048


class TextDocument(WireModel):
    text: str


Texts = Annotated[list[str], Field(min_length=1, fail_fast=True)]
Documents = Annotated[list[str | TextDocument], Field(min_length=1, fail_fast=True)]


class RerankBody(WireBody):
    query: str
    documents: Documents | None = None
    texts: Texts | None = None
    model: str | None = None
    top_n: Annotated[int, Field(ge=1)] | None = None
    return_documents: bool | None = None
    return_text: bool | None = None
    raw_scores: bool | None = None
    truncate: bool | None = None


@dataclass(frozen=True, slots=True)
class AskedRerank:
    """The request, and what of the documents is wanted back. `plain` is the form whose answer is a
    bare list."""

    request: RerankRequest
    top_n: int
    with_documents: bool
    plain: bool

    def render(self, answer: RerankAnswer) -> bytes:
        """The body of the answer, the best document first."""
        order = sorted(range(len(answer.scores)), key=lambda index: -answer.scores[index])
        found = [self._result(index, answer.scores[index]) for index in order[: self.top_n]]
        if self.plain:
            return json.dumps(found, separators=(",", ":")).encode()
        usage = {"prompt_tokens": answer.prompt_tokens, "total_tokens": answer.prompt_tokens}
        fields = {
            "object": "list",
            "model": answer.model,
            "results": found,
            "data": found,
            "usage": usage,
        }
        return json.dumps(fields, separators=(",", ":")).encode()

    def _result(self, index: int, score: float) -> dict[str, object]:
        result: dict[str, object] = {"index": index}
        result["score" if self.plain else "relevance_score"] = score
        if self.with_documents:
            text = self.request.documents[index]
            result |= {"text": text} if self.plain else {"document": {"text": text}}
        return result


def parse_rerank(body: bytes) -> AskedRerank:
    """Read a request; without a `model` its name is "".

    Raises: InvalidRequest, InvalidSchema, UnsupportedField.
    """
    rerank = read_json(RerankBody, body)
    refuse_unsupported(rerank.model_extra or {})
    if rerank.raw_scores:
        raise unsupported("raw_scores", "Scores are from 0 to 1: leave it out.")
    if rerank.truncate:
        raise unsupported("truncate", "Nothing is truncated silently: shorten the documents.")
    documents = _documents(rerank)
    if not rerank.query.strip():
        raise InvalidRequest("The query is empty.", param="query", hint="Say what to rank by.")
    return AskedRerank(
        RerankRequest(rerank.model or "", rerank.query, documents),
        top_n=rerank.top_n or len(documents),
        with_documents=bool(rerank.return_documents or rerank.return_text),
        plain=rerank.documents is None,
    )


def _documents(rerank: RerankBody) -> tuple[str, ...]:
    given = rerank.texts if rerank.documents is None else rerank.documents
    if given is None:
        raise InvalidRequest(
            "There are no documents to rank.", param="documents", hint="Send a list of texts."
        )
    if len(given) > MAX_DOCUMENTS:
        raise InvalidRequest(
            f"There are {len(given)} documents; one request may have {MAX_DOCUMENTS}.",
            param="documents",
            hint="Send several requests.",
        )
    return tuple(one if isinstance(one, str) else one.text for one in given)
