"""Requests that name a route, in all dialects: who answers, who is asked instead, what is told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from localserve.catalog.routes import Hours, Route, RouteTable, Target
from localserve.catalog.spec import ModelSpec
from localserve.errors import (
    ContextOverflow,
    EngineFailed,
    InvalidRequest,
    LocalserveError,
    MemoryBusy,
    ModelUnusable,
    Overloaded,
    TimedOut,
    WrongTask,
)
from localserve.gateway.store import KeyStore
from localserve.manager import ModelManager, Progress
from localserve.manager.need import Need
from localserve.server.attempts import reason_of
from localserve.server.request_lines import format_record, request_fields
from localserve.testing import (
    FakeBackend,
    FakeOffer,
    FakeRoom,
    fake_estimate,
    fake_spec,
)
from tests.server.conftest import Serve, until
from tests.server.test_chat import CHAT, events_of, text_of

EASY: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}
HARD: dict[str, Any] = {
    "model": "auto",
    "messages": [{"role": "user", "content": "Prove this, and explain why, step by step."}],
}


def manager_of(backends: Mapping[str, FakeBackend | LocalserveError], **more: Any) -> ModelManager:
    """Models by name; those that are errors cannot be loaded."""
    specs = [fake_spec(name) for name in backends]

    async def load(spec: ModelSpec, need: Need, progress: Progress) -> FakeBackend:
        backend = backends[spec.name]
        if isinstance(backend, LocalserveError):
            raise backend
        return backend

    return ModelManager(
        specs[0],
        load,
        offer=FakeOffer(specs),
        estimate=fake_estimate({}),
        room=FakeRoom(),
        **more,
    )


def two(small: Any = None, large: Any = None) -> ModelManager:
    """A default model that no route has, and two more."""
    backends = {
        "base": FakeBackend("base", name="base"),
        "small": small or FakeBackend("I am small.", name="small"),
        "large": large or FakeBackend("I am large.", name="large"),
    }
    return manager_of(backends)


def table(**more: Any) -> dict[str, Any]:
    """The option of `call` with one route, by complexity unless `more` says otherwise."""
    targets = (Target("small", up_to=0.25), Target("large"))
    route = Route(**({"name": "auto", "by": "complexity", "targets": targets} | more))
    return {"routes": RouteTable((route,))}


ORDER: dict[str, Any] = {"by": "order"}


async def test_the_score_of_a_request_decides_and_is_told(call: Serve) -> None:
    async with call(manager=two(), arguments=table()) as served:
        easy = await served.client.post(CHAT, json=EASY)
        assert easy.json()["model"] == "small"
        assert easy.headers["x-localserve-route"] == "auto -> small: complexity 0.00 <= 0.25"
        record = await served.record()
        assert record.model_route == easy.headers["x-localserve-route"]
        assert "| auto -> small: complexity" in format_record(record)
        assert request_fields(record)["model_route"] == record.model_route
        hard = await served.client.post(CHAT, json=HARD)
        assert hard.json()["choices"][0]["message"]["content"] == "I am large."
        assert hard.headers["x-localserve-route"].startswith("auto -> large: complexity")


async def test_an_explicit_model_is_never_routed(call: Serve) -> None:
    async with call(manager=two(), arguments=table()) as served:
        answer = await served.client.post(CHAT, json=HARD | {"model": "small"})
        assert answer.json()["model"] == "small"
        assert "x-localserve-route" not in answer.headers
        assert (await served.record()).model_route is None
        unnamed = await served.client.post(CHAT, json=HARD | {"model": ""})
        assert unnamed.json()["model"] == "base"


@pytest.mark.parametrize(
    ("path", "body", "model_of"),
    [
        (CHAT, EASY, lambda answer: answer["model"]),
        ("/v1/completions", {"prompt": "Hello"}, lambda answer: answer["model"]),
        ("/v1/responses", {"input": "Hello"}, lambda answer: answer["model"]),
        (
            "/v1/messages",
            {"max_tokens": 9, "messages": EASY["messages"]},
            lambda answer: answer["model"],
        ),
        ("/completion", {"prompt": "Hello"}, lambda answer: answer["model"]),
        ("/infill", {"input_prefix": "a", "input_suffix": "b"}, lambda answer: answer["model"]),
        ("/v1/embeddings", {"input": "Hello"}, lambda answer: answer["model"]),
        ("/v1/rerank", {"query": "a", "documents": ["a"]}, lambda answer: answer["model"]),
        ("/api/chat", EASY | {"stream": False}, None),
        ("/api/generate", {"prompt": "Hello", "stream": False}, None),
        ("/api/embed", {"input": "Hello"}, None),
        ("/v1/messages/count_tokens", {"messages": EASY["messages"]}, None),
        ("/tokenize", {"content": "Hello"}, None),
    ],
)
async def test_every_dialect_is_routed(
    call: Serve, path: str, body: dict[str, Any], model_of: Any
) -> None:
    async with call(manager=two(), arguments=table()) as served:
        answer = await served.client.post(path, json=body | {"model": "auto"})
        assert answer.status_code == 200, answer.text
        assert answer.headers["x-localserve-route"].startswith("auto -> small: ")
        if model_of is not None:
            assert model_of(answer.json()) == "small"


@pytest.mark.parametrize(
    ("failure", "word"),
    [
        (ContextOverflow(9, 8), "context"),
        (Overloaded("64 wait."), "queue"),
        (EngineFailed("It stopped."), "failed"),
        (WrongTask("It makes vectors.", hint=""), "task"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_another_model_answers_for_one_that_cannot(
    call: Serve, failure: LocalserveError, word: str, stream: bool
) -> None:
    small = FakeBackend(name="small", failure=failure)
    async with call(manager=two(small), arguments=table()) as served:
        answer = await served.client.post(CHAT, json=EASY | {"stream": stream})
        assert answer.status_code == 200
        told = f"auto -> small ({word}) -> large: complexity 0.00 <= 1.00"
        assert answer.headers["x-localserve-route"] == told
        assert (await served.record()).model_route == told
        text = (
            text_of(events_of(answer))
            if stream
            else answer.json()["choices"][0]["message"]["content"]
        )
        assert text == "I am large."


@pytest.mark.parametrize(
    "failure", [ModelUnusable("It is damaged."), MemoryBusy("It does not fit now.")]
)
async def test_another_model_answers_for_one_that_cannot_be_loaded(
    call: Serve, failure: LocalserveError
) -> None:
    async with call(manager=two(failure), arguments=table()) as served:
        answer = await served.client.post(CHAT, json=EASY)
        assert answer.headers["x-localserve-route"].startswith("auto -> small (load) -> large:")
        again = await served.client.post(CHAT, json=EASY)
        assert again.headers["x-localserve-route"].startswith("auto -> large:")
        figures = (await served.client.get("/metrics")).text
    assert 'localserve_route_fallbacks_total{model="small",reason="load"} 1.0' in figures


async def test_a_model_that_does_not_exist_is_asked_last(call: Serve) -> None:
    route = table(**ORDER, targets=(Target("nowhere"), Target("large")))
    async with call(manager=two(), arguments=route) as served:
        answer = await served.client.post(CHAT, json=EASY)
        assert answer.headers["x-localserve-route"] == "auto -> large: order"
    alone = table(**ORDER, targets=(Target("nowhere"),))
    async with call(manager=two(), arguments=alone) as served:
        answer = await served.client.post(CHAT, json=EASY)
        assert answer.status_code == 404
        assert answer.headers["x-localserve-route"] == "auto -> nowhere: order, unknown"


async def test_the_requests_own_mistakes_are_not_tried_again(call: Serve) -> None:
    small = FakeBackend(name="small", failure=InvalidRequest("No."))
    large = FakeBackend(name="large")
    async with call(manager=two(small, large), arguments=table()) as served:
        assert (await served.client.post(CHAT, json=EASY)).status_code == 400
        assert large.requests == []


async def test_the_last_error_is_told_when_nobody_can(call: Serve) -> None:
    small = FakeBackend(name="small", failure=Overloaded("Full."))
    large = FakeBackend(name="large", failure=ContextOverflow(9, 8))
    async with call(manager=two(small, large), arguments=table()) as served:
        answer = await served.client.post(CHAT, json=EASY)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"] == "context_length_exceeded"
        assert answer.headers["x-localserve-route"].startswith("auto -> small (queue) -> large:")


async def test_fallbacks_are_asked_at_the_end(call: Serve) -> None:
    small = FakeBackend(name="small", failure=Overloaded("Full."))
    route = table(targets=(Target("small"),), fallbacks=(Target("base"),))
    async with call(manager=two(small), arguments=route) as served:
        answer = await served.client.post(CHAT, json=EASY)
        assert answer.headers["x-localserve-route"] == "auto -> small (queue) -> base: fallback"


@pytest.mark.parametrize("stream", [False, True])
async def test_nobody_is_asked_after_the_first_token(call: Serve, stream: bool) -> None:
    small = FakeBackend("one two", name="small", failure=EngineFailed("Gone."), failure_after=1)
    large = FakeBackend(name="large")
    async with call(manager=two(small, large), arguments=table()) as served:
        answer = await served.client.post(CHAT, json=EASY | {"stream": stream})
        assert large.requests == []
        if stream:
            assert events_of(answer)[-1]["error"]["code"] == "engine_failed"
        else:
            assert answer.status_code == 503


async def test_a_model_that_says_nothing_in_time_is_given_up(call: Serve) -> None:
    small = FakeBackend(name="small", token_delay_seconds=60)
    route = table(first_token_seconds=0.5)
    async with call(manager=two(small), arguments=route) as served:
        answer = await served.client.post(CHAT, json=EASY)
        assert answer.headers["x-localserve-route"].startswith("auto -> small (timeout) -> large:")
        assert small.cancelled == 1
        vectors = FakeBackend(name="small", accept_delay_seconds=60)
    async with call(manager=two(vectors), arguments=route) as served:
        body = {"model": "auto", "input": "Hello"}
        answer = await served.client.post("/v1/embeddings", json=body)
        assert answer.headers["x-localserve-route"].startswith("auto -> small (timeout) -> large:")


LATE = {"headers_after_seconds": 0.01}


@pytest.mark.parametrize(
    ("path", "body", "last"),
    [
        (CHAT, EASY, "data: "),
        (CHAT, EASY | {"stream_options": {"include_usage": True}}, "data: "),
        ("/v1/completions", {"prompt": "Hello"}, "data: "),
        ("/v1/responses", {"input": "Hello"}, "data: "),
        ("/v1/messages", {"max_tokens": 9, "messages": EASY["messages"]}, "data: "),
        ("/completion", {"prompt": "Hello"}, "data: "),
        ("/api/chat", EASY, ""),
    ],
)
async def test_a_route_that_changes_after_the_headers_stands_in_the_last_chunk(
    call: Serve, path: str, body: dict[str, Any], last: str
) -> None:
    small = FakeBackend(name="small", accept_delay_seconds=60)
    options = {"arguments": table(first_token_seconds=0.5) | LATE}
    async with call(manager=two(small), **options) as served:
        body = body | {"model": "auto", "stream": True}
        answer = await served.client.post(path, json=body)
        assert answer.headers["x-localserve-route"].startswith("auto -> small: ")
        told = (await served.record()).model_route
        assert told is not None
        assert told.startswith("auto -> small (timeout) -> large: ")
        lines = [line.removeprefix(last) for line in answer.text.splitlines() if "{" in line]
        routes = [json.loads(line).get("localserve_route") for line in lines]
        assert [one for one in routes if one is not None] == [told]
        assert told in (routes[-1], routes[-2])


async def test_all_who_are_late_end_in_504(call: Serve) -> None:
    slow = {"accept_delay_seconds": 60}
    manager = two(FakeBackend(name="small", **slow), FakeBackend(name="large", **slow))
    async with call(manager=manager, arguments=table(first_token_seconds=0.05)) as served:
        answer = await served.client.post(CHAT, json=EASY)
        assert answer.status_code == 504
        assert answer.json()["error"]["code"] == "request_timed_out"


@pytest.mark.parametrize("limit", ["request_seconds", "first_token_seconds"])
@pytest.mark.parametrize("stream", [False, True])
async def test_the_servers_time_limits_hold_without_a_route(
    call: Serve, limit: str, stream: bool
) -> None:
    backend = FakeBackend(accept_delay_seconds=60)
    body = {"messages": EASY["messages"], "stream": stream}
    async with call(backend, **{limit: 0.05}) as served:
        answer = await served.client.post(CHAT, json=body)
        assert answer.status_code == 504
        assert backend.cancelled == 1
        assert (await served.record()).error == "request_timed_out"
    late = FakeBackend("one two", token_delay_seconds=60)
    async with call(late, **{limit: 0.05}) as served:
        answer = await served.client.post(CHAT, json=body)
        if stream:
            assert answer.status_code == 200
            assert events_of(answer)[-1]["error"]["code"] == "request_timed_out"
        else:
            assert answer.status_code == 504


@pytest.mark.parametrize(
    ("path", "body", "kind"),
    [
        ("/v1/messages", {"max_tokens": 9, "messages": EASY["messages"]}, "timeout_error"),
        ("/v1/embeddings", {"input": "Hello"}, None),
    ],
)
async def test_time_limits_hold_in_other_dialects_too(
    call: Serve, path: str, body: dict[str, Any], kind: str | None
) -> None:
    async with call(FakeBackend(accept_delay_seconds=60), request_seconds=0.05) as served:
        answer = await served.client.post(path, json=body | {"model": "fake"})
        assert answer.status_code == 504
        if kind is not None:
            assert answer.json()["error"]["type"] == kind


async def test_a_busy_model_is_passed_over(call: Serve) -> None:
    class Busy(FakeBackend):
        def status(self) -> Any:
            return replace(super().status(), waiting=3)

    route = table(max_waiting=2)
    async with call(manager=two(Busy(name="small")), arguments=route) as served:
        await served.client.post(CHAT, json=EASY | {"model": "small"})
        answer = await served.client.post(CHAT, json=EASY)
        assert answer.headers["x-localserve-route"].startswith("auto -> large:")


async def test_a_route_by_latency_learns_who_is_quick(call: Serve) -> None:
    slow = FakeBackend(name="small", accept_delay_seconds=0.5)
    async with call(manager=two(slow), arguments=table(by="latency")) as served:
        routes = [
            (await served.client.post(CHAT, json=EASY)).headers["x-localserve-route"]
            for _ in range(4)
        ]
        assert [route.split(":")[0] for route in routes] == [
            "auto -> small",
            "auto -> large",
            "auto -> large",
            "auto -> large",
        ]
        assert "latency not measured" in routes[1]


async def test_a_route_whose_models_are_closed_says_their_hours(
    call: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("localserve.server.router.minute_of_the_day", lambda: 12 * 60)
    route = table(targets=(Target("small", hours=Hours(0, 60)),))
    async with call(manager=two(), arguments=route) as served:
        answer = await served.client.post(CHAT, json=EASY)
        assert answer.status_code == 503
        assert "at 12:00: small (00:00-01:00)" in answer.json()["detail"]
        params = {"route": "auto", "at": "12:30"}
        explained = (await served.client.get("/admin/routes/explain", params=params)).json()
        assert explained["order"] == []
        assert explained["closed"] == [{"model": "small", "hours": "00:00-01:00"}]


async def test_routes_are_listed_with_the_models(call: Serve) -> None:
    async with call(manager=two(), arguments=table()) as served:
        listed = (await served.client.get("/v1/models")).json()["data"]
        assert {"auto", "small", "large"} <= {one["id"] for one in listed}
        assert (await served.client.get("/v1/models/AUTO")).json()["id"] == "auto"


async def test_routes_are_listed_in_ollamas_words_too(call: Serve) -> None:
    async with call(manager=two(), arguments=table()) as served:
        for name in ("base", "small", "large"):
            await served.client.post("/api/chat", json={"model": name})  # tells nothing unloaded
        listed = (await served.client.get("/api/tags")).json()["models"]
        assert [one["name"] for one in listed] == ["base", "small", "large", "auto"]
        assert listed[-1].keys() == listed[0].keys()
        running = (await served.client.get("/api/ps")).json()["models"]
        assert "auto" not in {one["name"] for one in running}
        studio = (await served.client.get("/api/v0/models")).json()["data"]
        assert [one["id"] for one in studio] == ["base", "small", "large", "auto"]
        assert (await served.client.get("/api/v0/models/AUTO")).json()["type"] == "llm"


async def test_a_route_is_shown_as_what_all_its_models_can_do(call: Serve) -> None:
    small = FakeBackend(name="small", context_tokens=64)
    large = FakeBackend(name="large", context_tokens=512)
    large.facts = replace(large.facts, capabilities=("completion", "tools"))
    async with call(manager=two(small, large), arguments=table()) as served:
        unknown = (await served.client.post("/api/show", json={"model": "auto"})).json()
        assert unknown["model_info"]["general.architecture"] == "route"
        for name in ("small", "large"):
            await served.client.post("/api/chat", json={"model": name})
        for name in ("auto", "AUTO:latest"):
            shown = (await served.client.post("/api/show", json={"model": name})).json()
            assert shown["capabilities"] == ["completion"]
            assert shown["model_info"]["route.context_length"] == 64
        missing = await served.client.post("/api/show", json={"model": "automatic"})
        assert missing.status_code == 404


async def test_a_route_can_be_loaded_in_ollamas_way(call: Serve) -> None:
    async with call(manager=two(), arguments=table()) as served:
        answer = await served.client.post("/api/chat", json={"model": "auto:latest"})
        assert answer.json()["done_reason"] == "load"
        assert {one.name for one in served.manager.models()} == {"base", "small"}


async def test_explain_runs_dry(call: Serve) -> None:
    small = FakeBackend(name="small", context_tokens=64)
    async with call(manager=two(small), arguments=table(max_waiting=5)) as served:
        params: dict[str, Any] = {
            "route": "Auto",
            "prompt": "Why? Prove it.",
            "tools": 2,
            "turns": 3,
            "context_tokens": 900,
            "max_tokens": 100,
            "at": "08:30",
        }
        answer = (await served.client.get("/admin/routes/explain", params=params)).json()
        assert answer["tokens"] == 4 + 900 + 100
        assert answer["at"] == "08:30"
        assert answer["complexity"] == pytest.approx(
            sum(answer["complexity_parts"].values()), abs=1e-3
        )
        assert [one["model"] for one in answer["order"]] == ["large", "small"]
        assert small.requests == []
        assert [one.name for one in served.manager.models()] == ["base"]
        wrong = await served.client.get("/admin/routes/explain", params={"route": "autos"})
        assert wrong.status_code == 404
        assert "'auto'" in wrong.json()["detail"]
        bad = {"route": "auto", "turns": "many"}
        assert (await served.client.get("/admin/routes/explain", params=bad)).status_code == 422


async def test_a_key_for_some_models_has_those_of_a_route(call: Serve, tmp_path: Path) -> None:
    store = KeyStore(tmp_path / "keys.sqlite")

    def key(name: str, *models: str) -> dict[str, str]:
        secret = store.create(name, now=0.0, models=models).secret
        return {"authorization": f"Bearer {secret}"}

    large, route, base = key("a", "large"), key("b", "AUTO"), key("c", "base")
    async with call(manager=two(), arguments=table(), data_dir=tmp_path) as served:

        async def asked(headers: dict[str, str]) -> httpx2.Response:
            return await served.client.post(CHAT, json=EASY, headers=headers)

        assert (await asked(large)).json()["model"] == "large"
        assert (await asked(route)).json()["model"] == "small"
        assert (await asked(base)).status_code == 403
        listed = (await served.client.get("/v1/models", headers=base)).json()["data"]
        assert [one["id"] for one in listed] == ["base"]
        listed = (await served.client.get("/v1/models", headers=large)).json()["data"]
        assert [one["id"] for one in listed] == ["large", "auto"]
        tags = (await served.client.get("/api/tags", headers=large)).json()["models"]
        assert "auto" in {one["name"] for one in tags}
        tags = (await served.client.get("/api/tags", headers=base)).json()["models"]
        assert "auto" not in {one["name"] for one in tags}
        shown = await served.client.post("/api/show", json={"model": "auto"}, headers=base)
        assert shown.status_code == 403
        explained = await served.client.get(
            "/admin/routes/explain", params={"route": "auto"}, headers=large
        )
        assert explained.status_code == 403


async def test_a_client_that_leaves_ends_the_attempt(serve: Serve) -> None:
    small = FakeBackend(name="small", accept_delay_seconds=60)
    async with serve(manager=two(small), arguments=table()) as served:
        asking = asyncio.create_task(served.client.post(CHAT, json=EASY))
        await until(lambda: small.running == 1)
        asking.cancel()
        record = await served.record()
        assert record.client_left
        assert small.cancelled == 1


def test_reasons_are_those_that_another_model_may_mend() -> None:
    assert reason_of(TimedOut("Late.")) == "timeout"
    assert reason_of(InvalidRequest("Wrong.")) is None
    assert reason_of(LocalserveError("A bug.")) is None
