"""Priorities, deadlines and stale keystrokes over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import openai
import pytest

from localserve.chat import Priority
from localserve.gateway.store import KeyStore
from localserve.testing import FakeBackend, fake_manager
from tests.server.conftest import CHAT, HELLO, Serve, Served, connected, until

COMPLETION = "/v1/completions"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: HELLO,
    COMPLETION: {"prompt": "x"},
    "/v1/responses": {"input": "x"},
    "/v1/messages": HELLO | {"max_tokens": 99},
    "/api/chat": HELLO | {"stream": False},
    "/api/generate": {"prompt": "x", "stream": False},
    "/api/generate#raw": {"prompt": "x", "raw": True, "stream": False},
    "/completion": {"prompt": "x"},
    "/infill": {"input_prefix": "x", "input_suffix": "y"},
}
"""A question in the words of each dialect."""

NEVER = 60.0
"""Seconds that no test waits for."""

# Priorities


@pytest.mark.parametrize(
    ("of_key", "of_request", "wanted"),
    [
        (None, None, None),
        (None, "interactive", Priority.INTERACTIVE),
        (Priority.BACKGROUND, None, Priority.BACKGROUND),
        (Priority.BACKGROUND, "chat", Priority.CHAT),
        (Priority.INTERACTIVE, "background", Priority.BACKGROUND),
    ],
)
@pytest.mark.parametrize("path", BODIES)
async def test_a_request_goes_before_its_key_and_both_before_the_kind(
    call: Serve,
    tmp_path: Path,
    path: str,
    of_key: Priority | None,
    of_request: str | None,
    wanted: Priority | None,
) -> None:
    secret = KeyStore(tmp_path / "keys.sqlite").create("one", now=0.0, priority=of_key).secret
    backend = FakeBackend()
    async with call(backend, data_dir=tmp_path) as served:
        body = BODIES[path]
        if of_request:
            body = body | {"priority": of_request}
        answer = await served.client.post(path, json=body, headers={"x-api-key": secret})
        assert answer.status_code == 200
    (request,) = backend.requests
    assert request.priority is wanted  # type: ignore[union-attr]


async def test_a_key_gets_its_priority_over_http_too(call: Serve, tmp_path: Path) -> None:
    async with call(data_dir=tmp_path) as served:
        body = {"name": "indexer", "scope": "admin", "priority": "background"}
        made = await served.client.post("/admin/keys", json=body)
        assert made.json()["priority"] == "background"
        wrong = await served.client.post(
            "/admin/keys",
            json={"name": "x", "priority": "urgent"},
            headers={"x-api-key": made.json()["key"]},
        )
        assert wrong.status_code == 422
        assert wrong.json()["errors"][0]["field"] == "priority"


# Deadlines


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("delay", ["accept_delay_seconds", "token_delay_seconds"])
async def test_a_deadline_before_the_first_token_is_a_504_that_nobody_repeats(
    call: Serve, stream: bool, delay: str
) -> None:
    backend = FakeBackend("a b c", **{delay: NEVER})  # type: ignore[arg-type]
    async with call(backend) as served:
        body = HELLO | {"stream": stream, "deadline_ms": 30}
        answer = await served.client.post(CHAT, json=body)
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "deadline_exceeded"
        assert answer.headers["x-should-retry"] == "false"
        assert (backend.running, backend.cancelled) == (0, 1)
        assert (await served.record()).error == "deadline_exceeded"


@pytest.mark.parametrize("path", BODIES)
async def test_every_dialect_has_deadlines(call: Serve, path: str) -> None:
    backend = FakeBackend("a b c", accept_delay_seconds=NEVER)
    async with call(backend) as served:
        answer = await served.client.post(path, json=BODIES[path] | {"deadline_ms": 30})
        assert answer.status_code == 504
        assert "deadline" in answer.text
        assert answer.headers["x-should-retry"] == "false"
        assert (await served.record()).error == "deadline_exceeded"
    assert (backend.running, backend.cancelled) == (0, 1)


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("wrong", [{"priority": "urgent"}, {"deadline_ms": 0}])
async def test_no_dialect_takes_another_urgency(
    call: Serve, path: str, wrong: dict[str, Any]
) -> None:
    async with call() as served:
        answer = await served.client.post(path, json=BODIES[path] | wrong)
        assert answer.status_code in (400, 422)
        assert next(iter(wrong)) in answer.text


async def test_a_deadline_after_the_first_token_ends_the_stream_with_an_error(serve: Serve) -> None:
    backend = FakeBackend("a " * 5_000, token_delay_seconds=0.01)
    async with serve(backend) as served, connected(served) as connection:
        await connection.post(HELLO | {"stream": True, "deadline_ms": 400})
        said = await connection.read_until(b"\r\n0\r\n\r\n")
        assert b"HTTP/1.1 200 OK" in said
        assert b'"content":"a' in said
        assert b'"code": "deadline_exceeded"' in said
        assert b"[DONE]" not in said
        assert (backend.running, backend.cancelled) == (0, 1)


async def test_a_whole_answer_that_is_late_is_a_504_even_in_the_middle(call: Serve) -> None:
    backend = FakeBackend("a " * 5_000, token_delay_seconds=0.01)
    async with call(backend) as served:
        answer = await served.client.post(COMPLETION, json={"prompt": "x", "deadline_ms": 100})
        assert answer.status_code == 504


async def test_a_deadline_counts_while_the_model_loads(call: Serve) -> None:
    manager = fake_manager(FakeBackend(), load_seconds=NEVER)
    async with call(manager=manager, ready=False) as served:
        answer = await served.client.post(CHAT, json=HELLO | {"deadline_ms": 30})
        assert answer.status_code == 504


@pytest.mark.parametrize("stream", [False, True])
async def test_an_answer_in_time_is_as_without_a_deadline(call: Serve, stream: bool) -> None:
    async with call() as served:
        bodies = [
            (await served.client.post(CHAT, json=HELLO | {"stream": stream} | more)).text
            for more in ({}, {"deadline_ms": 30_000})
        ]
        assert bodies[1].count("data:") == bodies[0].count("data:")
        assert bodies[1].endswith(bodies[0][-12:])


async def test_headers_of_a_stream_with_a_far_deadline_go_out_after_the_usual_time(
    serve: Serve,
) -> None:
    backend = FakeBackend("a b", token_delay_seconds=0.3)
    options = {"arguments": {"headers_after_seconds": 0.05}, "keepalive_seconds": 0.1}
    async with serve(backend, **options) as served, connected(served) as connection:
        await connection.post(HELLO | {"stream": True, "deadline_ms": 30_000})
        before = await connection.read_until(b'"content":"a"')
        assert b"HTTP/1.1 200 OK" in before
        assert b": keepalive\n\n" in before


async def test_the_official_client_does_not_try_a_late_answer_again(serve: Serve) -> None:
    backend = FakeBackend(accept_delay_seconds=NEVER)
    async with (
        serve(backend) as served,
        openai.AsyncOpenAI(
            base_url=f"http://127.0.0.1:{served.port}/v1", api_key="none", max_retries=2
        ) as client,
    ):
        with pytest.raises(openai.APIStatusError) as late:
            await client.completions.create(
                model="", prompt="x", extra_body={"deadline_ms": 20}, timeout=20
            )
        assert late.value.status_code == 504
        assert len(backend.requests) == 1


# Keystrokes

BEFORE = "def mean(values):\n    total = sum(values)\n    return tot"
BEHIND = "\n\n\nprint(mean([1, 2, 3]))\n"
MIDDLE = {"prompt": BEFORE, "suffix": BEHIND}
NEXT = {"prompt": BEFORE + "a", "suffix": BEHIND}
EVALUATION = "Question: what is two and two?\nAnswer: four\n\n" * 20

Pair = tuple[dict[str, Any], dict[str, Any]]

REPLACED: dict[str, Pair] = {
    "a letter was typed": (MIDDLE, NEXT),
    "a letter was deleted": (NEXT, MIDDLE),
    "one named file": ({"prompt": "a", "file": "x.py"}, {"prompt": "b", "file": "x.py"}),
    "a named file, streamed": (
        {"prompt": "a", "file": "x.py", "stream": True},
        {"prompt": "b", "file": "x.py"},
    ),
}
SIDE_BY_SIDE: dict[str, Pair] = {
    "two named files": (MIDDLE | {"file": "x.py"}, NEXT | {"file": "y.py"}),
    "a named file and none": (MIDDLE | {"file": "x.py"}, NEXT),
    "two users": (
        {"prompt": "a", "file": "x.py", "user": "ann"},
        {"prompt": "a", "file": "x.py", "user": "ben"},
    ),
    "twice the same": (MIDDLE, MIDDLE),
    "two files": (MIDDLE, {"prompt": "import os\n" * 9 + "o", "suffix": BEHIND}),
    "no middle": ({"prompt": BEFORE}, {"prompt": BEFORE + "a"}),
    "an evaluation": ({"prompt": EVALUATION + "Q: a"}, {"prompt": EVALUATION + "Q: ab"}),
    "only warming the cache up": (MIDDLE | {"max_tokens": 0}, NEXT | {"max_tokens": 0}),
    "several choices": (MIDDLE | {"n": 2}, NEXT | {"n": 2}),
    "not interactive": (MIDDLE | {"priority": "chat"}, NEXT | {"priority": "chat"}),
    "the newer one is not interactive": (MIDDLE, NEXT | {"priority": "background"}),
}


@asynccontextmanager
async def two_at_once(
    served: Served,
    backend: FakeBackend,
    pair: Pair,
    agents: tuple[str, str] = ("editor", "editor"),
    path: str = COMPLETION,
) -> AsyncIterator[asyncio.Task[httpx2.Response]]:
    """The first of two requests, while the second is being answered."""
    posts = []
    for number, (body, agent) in enumerate(zip(pair, agents, strict=True)):
        headers = {"user-agent": agent}
        post = served.client.post(path, json=body, headers=headers)
        posts.append(asyncio.create_task(post))
        await until(lambda count=number + 1: len(backend.requests) == count)  # type: ignore[misc]
    try:
        yield posts[0]
    finally:
        for post in posts:
            post.cancel()
        await asyncio.gather(*posts, return_exceptions=True)


@pytest.mark.parametrize("name", REPLACED)
async def test_a_newer_completion_of_the_same_file_ends_the_stale_one(
    serve: Serve, name: str
) -> None:
    backend = FakeBackend(accept_delay_seconds=NEVER)
    async with (
        serve(backend) as served,
        two_at_once(served, backend, REPLACED[name]) as stale,
    ):
        answer = await stale
        assert answer.status_code == 409
        assert answer.json()["error"]["code"] == "superseded"
        assert answer.headers["x-should-retry"] == "false"
        assert (backend.running, backend.cancelled) == (1, 1)
        assert (await served.record()).error == "superseded"


@pytest.mark.parametrize("name", SIDE_BY_SIDE)
async def test_what_may_be_another_file_is_left_alone(serve: Serve, name: str) -> None:
    backend = FakeBackend(accept_delay_seconds=NEVER)
    async with (
        serve(backend) as served,
        two_at_once(served, backend, SIDE_BY_SIDE[name]) as first,
    ):
        await asyncio.sleep(0.05)
        assert not first.done()
        assert (backend.running, backend.cancelled) == (2, 0)


async def test_a_middle_in_llama_servers_words_is_the_same(serve: Serve) -> None:
    backend = FakeBackend(accept_delay_seconds=NEVER)
    old = {"input_prefix": BEFORE[:20], "prompt": BEFORE[20:], "input_suffix": BEHIND}
    pair = (old, old | {"prompt": BEFORE[20:] + "a"})
    async with serve(backend) as served, two_at_once(served, backend, pair, path="/infill") as one:
        assert (await one).status_code == 409
        assert (backend.running, backend.cancelled) == (1, 1)


async def test_two_programs_do_not_end_each_others_completions(serve: Serve) -> None:
    backend = FakeBackend(accept_delay_seconds=NEVER)
    async with (
        serve(backend) as served,
        two_at_once(served, backend, (MIDDLE, NEXT), ("one editor", "another")) as first,
    ):
        await asyncio.sleep(0.05)
        assert not first.done()


async def test_a_stale_stream_ends_with_an_error(serve: Serve) -> None:
    backend = FakeBackend("a " * 5_000, token_delay_seconds=0.01)
    async with serve(backend) as served, connected(served) as stale, connected(served) as newer:
        await stale.post({"prompt": "a", "file": "x.py", "stream": True}, COMPLETION)
        await stale.read_until(b'"text":"a')
        await newer.post({"prompt": "b", "file": "x.py", "stream": True}, COMPLETION)
        rest = await stale.read_until(b"\r\n0\r\n\r\n")
        assert b'"code": "superseded"' in rest
        assert b"[DONE]" not in rest
        await newer.read_until(b'"text":"a')


async def test_what_is_answered_is_forgotten(call: Serve) -> None:
    backend = FakeBackend()
    async with call(backend) as served:
        for _ in range(3):
            for body in (MIDDLE, NEXT):
                answer = await served.client.post(COMPLETION, json=body)
                assert answer.status_code == 200
    assert backend.cancelled == 0
