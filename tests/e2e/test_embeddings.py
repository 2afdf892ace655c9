"""Embedding models and a reranker beside a chat model, in one real server."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np
import openai
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localserve.catalog.registry import BUILTIN_NAME, shipped_registry
from localserve.catalog.spec import LocalFile
from tests.e2e.conftest import WAIT_SECONDS, Server, serve_with
from tests.e2e.test_hostile import ANYTHING, check
from tests.minilm import CONTEXT, MiniLm
from tests.minilm_reference import embed

pytestmark = pytest.mark.e2e

EMBED = "/v1/embeddings"
RERANK = "/v1/rerank"
TEXTS = ["A man eats pasta.", "Somebody has noodles for dinner.", "The stock market fell today."]


@pytest.fixture(scope="module")
def server(
    minilm: MiniLm, reranker: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """Serves the built-in model; three more can be named, one of them its own file once more."""
    builtin = shipped_registry().find(BUILTIN_NAME)
    assert builtin is not None
    assert isinstance(builtin.source, LocalFile)
    home = tmp_path_factory.mktemp("home")
    config = home / "models.toml"
    config.write_text(
        f'[models.minilm]\nfile = "{minilm.gguf}"\nkind = "embedding"\n'
        f'[models.ranker]\nfile = "{reranker}"\n'
        f'[models.tiny-vectors]\nfile = "{builtin.source.path}"\npooling = "last"\n'
    )
    with serve_with(home, BUILTIN_NAME, "--config", str(config)) as server:
        yield server


def data_of(response: httpx2.Response) -> list[Any]:
    assert response.status_code == 200, response.text
    data: list[Any] = response.json()["data"]
    return data


def message_of(response: httpx2.Response, status: int = 400) -> str:
    assert response.status_code == status, response.text
    return str(response.json()["error"]["message"])


def test_the_sdk_gets_the_vectors_of_the_published_model(server: Server, minilm: MiniLm) -> None:
    client = server.client()
    packed = client.embeddings.create(model="minilm", input=TEXTS)
    plain = client.embeddings.create(model="minilm", input=TEXTS, encoding_format="float")
    for text, one, other in zip(TEXTS, packed.data, plain.data, strict=True):
        assert np.array(one.embedding) @ embed(minilm, text) >= 0.999
        assert one.embedding == pytest.approx(other.embedding, abs=1e-3)
    pasta, noodles, market = (np.array(one.embedding) for one in packed.data)
    assert pasta @ noodles > pasta @ market
    assert packed.usage.total_tokens > 3


def test_the_sdk_gets_fewer_dimensions(server: Server, minilm: MiniLm) -> None:
    (cut,) = server.client().embeddings.create(model="minilm", input=TEXTS[0], dimensions=64).data
    whole = embed(minilm, TEXTS[0])[:64]
    assert np.array(cut.embedding) @ whole / np.linalg.norm(whole) >= 0.999
    with pytest.raises(openai.BadRequestError, match="have 384"):
        server.client().embeddings.create(model="minilm", input="a", dimensions=385)


def test_all_kinds_of_models_answer_next_to_each_other(server: Server) -> None:
    client = server.client()
    chat = client.chat.completions.create(
        model=BUILTIN_NAME,
        messages=[{"role": "user", "content": "What is the capital of France?"}],
        temperature=0,
    )
    assert "Paris" in (chat.choices[0].message.content or "")
    assert data_of(server.post(EMBED, {"model": "minilm", "input": "Paris"}))
    (vector,) = data_of(server.post(EMBED, {"model": "tiny-vectors", "input": "Paris " * 700}))
    assert np.linalg.norm(vector["embedding"]) == pytest.approx(1, abs=1e-3)
    pairs = {"model": "ranker", "query": "Paris", "documents": ["a city", "a fruit"]}
    ranked = server.post(RERANK, pairs).json()
    assert {one["index"] for one in ranked["results"]} == {0, 1}
    scores = [one["relevance_score"] for one in ranked["data"]]
    assert 1 > scores[0] >= scores[1] > 0
    completed = server.post("/v1/completions", {"prompt": "The capital", "max_tokens": 3})
    assert completed.status_code == 200
    models = {model["id"]: model for model in server.get("/v1/models").json()["data"]}
    assert models["minilm"]["capabilities"] == ["embedding"]
    assert models["minilm"]["meta"]["n_ctx"] == CONTEXT
    assert models["tiny-vectors"]["capabilities"] == ["embedding"]
    assert models["ranker"]["capabilities"] == ["rerank"]
    assert "completion" in models[BUILTIN_NAME]["capabilities"]
    held = {one["id"]: one for one in server.get("/admin/models").json()["models"]}
    assert held["ranker"]["capabilities"] == ["rerank"]
    assert {name for name, one in held.items() if one["state"] == "loaded"} >= {
        "minilm",
        "ranker",
        "tiny-vectors",
        BUILTIN_NAME,
    }


def test_a_prediction_of_memory_holds(server: Server) -> None:
    data_of(server.post(EMBED, {"model": "minilm", "input": "a"}))
    found = server.wait_for_line(r"minilm: .* were predicted, ([+-]\d+\.\d)%")
    assert abs(float(found.group(1))) <= 1.0


def test_each_model_says_what_it_cannot_do(server: Server) -> None:
    messages = [{"role": "user", "content": "Hello"}]
    chat = server.post("/v1/chat/completions", {"model": "minilm", "messages": messages})
    assert "/v1/embeddings" in message_of(chat)
    assert chat.json()["error"]["code"] == "wrong_task"
    streamed = {"model": "ranker", "messages": messages, "stream": True}
    assert "/v1/rerank" in message_of(server.post("/v1/chat/completions", streamed))
    assert 'pooling = "last"' in message_of(server.post(EMBED, {"input": "Hello"}))
    pairs = {"query": "a", "documents": ["b"]}
    assert "reranker" in message_of(server.post(RERANK, pairs))
    assert "reranker" in message_of(server.post(RERANK, {**pairs, "model": "minilm"}))
    assert "/v1/rerank" in message_of(server.post(EMBED, {"input": "a", "model": "ranker"}))


def test_nothing_is_cut(server: Server) -> None:
    fits = {"model": "minilm", "input": ["word " * (CONTEXT - 2)]}
    assert len(data_of(server.post(EMBED, fits))) == 1
    long = server.post(EMBED, {"model": "minilm", "input": ["word " * 600]})
    assert f"{CONTEXT} tokens" in message_of(long)
    assert "602 input tokens" in message_of(long)
    assert long.json()["error"]["code"] == "context_length_exceeded"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"input": ["a"] * 2_049}, 400),
        ({"input": [""]}, 400),
        ({"input": ["fine", ""]}, 400),
        ({"input": [30_522]}, 400),
        ({"input": [[1], [2**31 - 1]]}, 400),
        ({"input": [2**31]}, 422),
        ({"input": [-1]}, 422),
        ({"input": []}, 422),
        ({"input": [[]]}, 422),
        ({"input": [[["a"]]]}, 422),
        ({"input": [None] * 100_000}, 422),
        ({"input": {"text": "a"}}, 422),
        ({"input": "a", "encoding_format": "hex"}, 422),
        ({"input": "a", "dimensions": 10**30}, 400),
        ({"input": "a", "model": "no-such-model"}, 404),
        ({"input": "\x00\ufffe\U0001f600"}, 200),
        ({"input": "[CLS] [SEP] [MASK]"}, 200),
    ],
)
def test_what_nobody_should_send_is_answered(
    server: Server, body: dict[str, Any], status: int
) -> None:
    response = server.post(EMBED, {"model": "minilm", **body})
    assert response.status_code == status, response.text
    assert data_of(server.post(EMBED, {"model": "minilm", "input": "still there"}))


INPUTS = st.one_of(
    st.text(max_size=40),
    st.lists(st.text(max_size=10) | st.lists(st.integers(-1, 40_000), max_size=3), max_size=3),
    st.lists(st.integers(-1, 40_000), max_size=5),
    ANYTHING,
)
MODELS = st.sampled_from(["minilm", "ranker", "tiny-vectors", BUILTIN_NAME, "nobody"]) | ANYTHING
EMBEDDINGS = st.fixed_dictionaries(
    {"input": INPUTS},
    optional={
        "model": MODELS,
        "dimensions": st.integers(-1, 400) | ANYTHING,
        "encoding_format": st.sampled_from(["float", "base64"]) | ANYTHING,
    },
)
DOCUMENTS = (
    st.lists(st.text(max_size=20) | st.fixed_dictionaries({"text": st.text(max_size=20)}))
    | ANYTHING
)
RERANKS = st.fixed_dictionaries(
    {"query": st.text(max_size=20) | ANYTHING, "documents": DOCUMENTS},
    optional={"model": MODELS, "top_n": st.integers(-1, 9) | ANYTHING, "texts": DOCUMENTS},
)


@settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(asked=st.tuples(st.just(EMBED), EMBEDDINGS) | st.tuples(st.just(RERANK), RERANKS))
def test_no_body_is_answered_by_a_server_error(server: Server, asked: tuple[str, object]) -> None:
    check(server, *asked)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"input": "\\ud800"}', b"[" * 100_000])
def test_what_is_no_body_is_refused(server: Server, content: bytes) -> None:
    response = httpx2.post(server.url + EMBED, content=content, timeout=WAIT_SECONDS)
    assert response.status_code in (400, 422)
    assert data_of(server.post(EMBED, {"model": "minilm", "input": "still there"}))


def test_a_client_that_leaves_holds_up_nobody(server: Server) -> None:
    body = {"model": "minilm", "input": ["word " * 500] * 1_500}
    content = json.dumps(body).encode()
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), WAIT_SECONDS) as connection:
        head = f"POST {EMBED} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(content)}\r\n\r\n"
        connection.sendall(head.encode() + content)
        server.wait_until(lambda: running(server, "minilm") == 1)
    server.wait_until(lambda: running(server, "minilm") == 0)
    server.wait_for_line(rf"POST {EMBED} client left")
    assert data_of(server.post(EMBED, {"model": "minilm", "input": "still there"}))


def running(server: Server, name: str) -> int:
    models = server.get("/admin/models").json()["models"]
    return sum(one["running"] for one in models if one["id"] == name)


def test_a_small_request_does_not_wait_for_a_large_one(server: Server) -> None:
    large = {"model": "minilm", "input": ["word " * 300] * 40}
    ended: list[tuple[str, float]] = []

    def ask(name: str, body: dict[str, Any]) -> None:
        data_of(server.post(EMBED, body))
        ended.append((name, time.monotonic()))

    thread = threading.Thread(target=ask, args=("large", large))
    thread.start()
    server.wait_until(lambda: running(server, "minilm") == 1)
    ask("small", {"model": "minilm", "input": "small"})
    thread.join(WAIT_SECONDS)
    assert [name for name, _ in ended] == ["small", "large"]


def test_base64_is_what_the_sdk_takes_apart(server: Server) -> None:
    body = {"model": "minilm", "input": [101, 2054, 102], "encoding_format": "base64"}
    (entry,) = data_of(server.post(EMBED, body))
    assert len(base64.b64decode(entry["embedding"])) == 4 * 384


def test_an_embedding_model_can_be_the_default_one(minilm: MiniLm, tmp_path: Path) -> None:
    with serve_with(tmp_path, str(minilm.gguf)) as server:
        assert len(data_of(server.post(EMBED, {"input": "text"}))) == 1
        server.wait_for_line(r"512 tokens for each text, up to 64 texts at once")
        example = server.wait_for_line(r"curl (\S+) -d '(.*)'")
        answer = httpx2.post(example.group(1), content=example.group(2), timeout=WAIT_SECONDS)
        assert len(data_of(answer)) == 1
        assert server.get("/health/ready").status_code == 200
