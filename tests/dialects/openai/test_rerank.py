"""Bodies of rerank requests, and how scores are written."""

from __future__ import annotations

import json
from typing import Any

import pytest

from localserve.chat import RerankAnswer, RerankRequest
from localserve.dialects.openai import AskedRerank, parse_rerank
from localserve.dialects.openai.rerank import MAX_DOCUMENTS
from localserve.errors import InvalidRequest, InvalidSchema, UnsupportedField

ANSWER = RerankAnswer("m", (0.25, 0.75, 0.5), 12)


def parse(**fields: object) -> AskedRerank:
    given: dict[str, object] = {"query": "q", "documents": ["a", "b", "c"], **fields}
    body = {name: value for name, value in given.items() if value is not ...}
    return parse_rerank(json.dumps(body).encode())


def rendered(**fields: object) -> Any:
    return json.loads(parse(**fields).render(ANSWER))


def test_the_best_document_comes_first_as_results_and_as_data() -> None:
    body = rendered(model="m")
    assert body["results"] == body["data"]
    assert body["results"] == [
        {"index": 1, "relevance_score": 0.75},
        {"index": 2, "relevance_score": 0.5},
        {"index": 0, "relevance_score": 0.25},
    ]
    assert body["model"] == "m"
    assert body["usage"] == {"prompt_tokens": 12, "total_tokens": 12}


def test_only_so_many_are_wanted() -> None:
    assert [one["index"] for one in rendered(top_n=2)["results"]] == [1, 2]
    assert len(rendered(top_n=99)["results"]) == 3


def test_documents_come_back_where_they_are_wanted() -> None:
    body = rendered(top_n=1, return_documents=True)
    assert body["data"] == [{"index": 1, "relevance_score": 0.75, "document": {"text": "b"}}]


def test_documents_may_be_objects_with_a_text() -> None:
    asked = parse(documents=["a", {"text": "b", "title": "ignored"}], model="m")
    assert asked.request == RerankRequest("m", "q", ("a", "b"))


def test_the_other_form_is_a_bare_list() -> None:
    body = rendered(documents=..., texts=["a", "b", "c"], return_text=True, raw_scores=False)
    assert body[0] == {"index": 1, "score": 0.75, "text": "b"}
    assert len(body) == 3
    assert "text" not in rendered(documents=..., texts=["a", "b", "c"])[0]


@pytest.mark.parametrize(
    "fields",
    [
        {"documents": []},
        {"documents": "a"},
        {"documents": [1]},
        {"documents": [["a"]]},
        {"documents": [{"body": "a"}]},
        {"query": ...},
        {"query": ["q"]},
        {"top_n": 0},
        {"top_n": "3"},
        {"documents": ..., "texts": []},
    ],
)
def test_what_breaks_the_schema_is_named(fields: dict[str, object]) -> None:
    with pytest.raises(InvalidSchema):
        parse(**fields)


@pytest.mark.parametrize("query", ["", " \n"])
def test_an_empty_query_is_refused(query: str) -> None:
    with pytest.raises(InvalidRequest, match="The query is empty"):
        parse(query=query)


def test_no_documents_at_all_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="no documents"):
        parse(documents=...)


def test_more_documents_than_one_request_may_have_are_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"2049 documents; one request may have 2048"):
        parse(documents=["a"] * (MAX_DOCUMENTS + 1))


@pytest.mark.parametrize("field", ["raw_scores", "truncate"])
def test_fields_that_would_change_the_answer_are_refused(field: str) -> None:
    with pytest.raises(UnsupportedField, match=field):
        parse(**{field: True})
    assert parse(**{field: False})
