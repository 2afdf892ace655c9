"""Requests that nobody should send, against a real server on a real model."""

from __future__ import annotations

import contextlib
import socket
import string
from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.e2e.conftest import WAIT_SECONDS, Server, Start

pytestmark = pytest.mark.e2e

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)


def often(likely: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    """A sensible value most of the time: what lies behind the first check is to be reached."""
    return st.one_of(likely, likely, likely, ANYTHING)


MESSAGES = st.lists(
    st.fixed_dictionaries(
        {
            "role": often(st.sampled_from(["system", "developer", "user", "assistant", "tool"])),
            "content": often(st.text(max_size=40)),
        }
    ),
    min_size=1,
    max_size=3,
)
PROMPTS = st.one_of(
    st.text(max_size=40),
    st.lists(st.text(max_size=10), max_size=3),
    st.lists(st.integers(-1, 5000), max_size=10),
    st.lists(st.lists(st.integers(0, 500), max_size=3), max_size=3),
)
OPTIONS = {
    "temperature": often(st.floats(-1, 6)),
    "top_p": often(st.floats(-0.5, 1.5)),
    "top_k": often(st.integers(-5, 300_000)),
    "min_p": often(st.floats(0, 1)),
    "typical_p": often(st.floats(0, 1)),
    "repeat_penalty": often(st.floats(0, 3)),
    "frequency_penalty": often(st.floats(-2, 2)),
    "presence_penalty": often(st.floats(-2, 2)),
    "logit_bias": often(
        st.dictionaries(st.integers(-1, 10_000).map(str), st.floats(-100, 100), max_size=3)
    ),
    "seed": often(st.integers(-1, 2**40)),
    "n": often(st.integers(0, 4)),
    "stop": often(st.lists(st.text(max_size=5), max_size=4) | st.text(max_size=5)),
    "logprobs": often(st.booleans() | st.integers(0, 20)),
    "top_logprobs": often(st.integers(0, 21)),
    "stream": often(st.booleans()),
    "suffix": often(st.text(max_size=10)),
    "echo": often(st.booleans()),
    "ignore_eos": often(st.booleans()),
    "priority": often(st.sampled_from(["interactive", "chat", "background"])),
    "file": often(st.text(max_size=10)),
    "user": often(st.text(max_size=10)),
    "model": often(st.just("localserve-tiny")),
    "chat_template_kwargs": often(
        st.dictionaries(st.text(string.ascii_lowercase, max_size=9), SCALARS, max_size=2)
    ),
}
FEW_TOKENS = {"max_tokens": st.integers(0, 4)}


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    body=st.fixed_dictionaries({"messages": often(MESSAGES), **FEW_TOKENS}, optional=OPTIONS),
)
def test_no_chat_body_is_answered_by_a_server_error(server: Server, body: object) -> None:
    check(server, "/v1/chat/completions", body)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(body=st.fixed_dictionaries({"prompt": often(PROMPTS), **FEW_TOKENS}, optional=OPTIONS))
def test_no_completion_body_is_answered_by_a_server_error(server: Server, body: object) -> None:
    check(server, "/v1/completions", body)


EDITORS = {
    "input_extra": often(st.lists(st.fixed_dictionaries({"text": st.text()}), max_size=3)),
    "samplers": often(st.lists(st.sampled_from(["penalties", "top_k", "infill", "temperature"]))),
    "n_indent": often(st.integers(0, 9)),
    "t_max_predict_ms": often(st.integers(-1, 50)),
    "t_max_prompt_ms": often(st.integers(-1, 50)),
    "cache_prompt": often(st.booleans()),
    "n_probs": often(st.integers(0, 9)),
    "return_tokens": often(st.booleans()),
    "return_progress": often(st.booleans()),
    "timings_per_token": often(st.booleans()),
    "response_fields": often(st.lists(st.text(max_size=9), max_size=3)),
    "grammar": st.just(""),
    "logit_bias": often(
        st.lists(st.tuples(st.integers(0, 5_000) | st.text(max_size=9), st.just(False)))
    ),
}
AROUND = {"input_prefix": often(st.text(max_size=40)), "input_suffix": often(st.text(max_size=40))}
BY_EDITORS = st.one_of(
    st.tuples(
        st.just("/infill"),
        st.fixed_dictionaries(
            {**AROUND, "n_predict": st.integers(0, 4)},
            optional={**OPTIONS, **EDITORS, "prompt": often(st.text(max_size=9))},
        ),
    ),
    st.tuples(
        st.sampled_from(["/completion", "/completions"]),
        st.fixed_dictionaries(
            {"prompt": often(PROMPTS), "n_predict": st.integers(0, 4)},
            optional={**OPTIONS, **EDITORS},
        ),
    ),
    st.tuples(
        st.just("/tokenize"),
        st.fixed_dictionaries(
            {"content": often(st.text() | st.lists(st.text() | st.integers(0, 5_000)))},
            optional={"add_special": ANYTHING, "with_pieces": often(st.booleans())},
        ),
    ),
    st.tuples(
        st.just("/detokenize"),
        st.fixed_dictionaries({"tokens": often(st.lists(st.integers(-1, 5_000)))}),
    ),
    st.tuples(
        st.sampled_from(["/apply-template", "/chat/completions/input_tokens"]),
        st.fixed_dictionaries({"messages": often(MESSAGES)}, optional=OPTIONS),
    ),
)


@settings(
    max_examples=200,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(asked=BY_EDITORS)
def test_no_body_of_an_editor_is_answered_by_a_server_error(
    server: Server, asked: tuple[str, object]
) -> None:
    check(server, *asked, done="")


def check(server: Server, path: str, body: object, *, done: str = "data: [DONE]\n\n") -> None:
    """`done` is how a stream ends."""
    worker = server.worker.pid
    response = server.post(path, body)
    if response.status_code == 503:
        assert "retry-after" in response.headers
    else:
        assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.json()["error"]["message"]
    elif response.headers["content-type"].startswith("text/event-stream"):
        assert response.text.endswith(done), response.text
        assert 'data: {"error"' not in response.text
    assert "x-request-id" in response.headers
    assert server.worker.pid == worker, "the worker died"


POST = b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x00" * 4096,
        b"GET / HTTP/9.9\r\n\r\n",
        POST + b"Content-Length: -1\r\n\r\n",
        POST + b"Content-Length: 10\r\n\r\n{}",
        POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /" + b"a" * 200_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_rubbish_on_the_wire_harms_nobody(server: Server, raw: bytes) -> None:
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=WAIT_SECONDS) as rubbish:
        rubbish.sendall(raw)
    assert server.get("/health/ready").status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_request_is_a_client_error(server: Server, body: bytes) -> None:
    url = server.url + "/v1/chat/completions"
    response = httpx2.post(url, content=body, timeout=WAIT_SECONDS)
    assert response.status_code in (400, 422)
    assert response.json()["error"]["message"]


def test_one_connection_too_many_is_told_so(start: Start) -> None:
    server = start(environ={"LOCALSERVE_MAX_CONNECTIONS": "4"})
    parts = urlsplit(server.url)
    address = (parts.hostname, parts.port)
    with contextlib.ExitStack() as held:
        for _ in range(4):
            held.enter_context(socket.create_connection(address))
        server.wait_until(lambda: server.get("/health/live").status_code == 503)
        refused = server.post("/v1/completions", {"prompt": "once " * 100_000})
        assert refused.json()["error"]["code"] == "too_many_connections"
        assert refused.headers["retry-after"] == "5"
    server.wait_until(lambda: server.get("/health/live").status_code == 200)
    assert server.stop() == 0


def test_a_head_without_end_is_refused(server: Server) -> None:
    parts = urlsplit(server.url)
    with socket.create_connection((parts.hostname, parts.port), timeout=WAIT_SECONDS) as client:
        client.sendall(b"GET / HTTP/1.1\r\nx: " + b"a" * 70_000)
        assert client.recv(100).startswith(b"HTTP/1.1 431 ")
