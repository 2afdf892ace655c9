"""What Prometheus reads, by its own parser."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families

from localserve.errors import EngineFailed, ModelUnusable
from localserve.manager import ModelManager
from localserve.testing import (
    FakeBackend,
    FakeOffer,
    FakeRoom,
    fake_estimate,
    fake_manager,
    fake_spec,
)
from tests.server.conftest import CHAT, HELLO, Serve, Served, connected, until

DOCS = Path(__file__).parent.parent.parent / "docs"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def scrape(served: Served) -> Samples:
    response = await served.client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[f"localserve_{name}", frozenset(labels.items())]


async def test_an_answer_is_counted_and_timed(call: Serve) -> None:
    async with call(FakeBackend("four words of text")) as served:
        for stream in (False, True):
            await served.client.post(CHAT, json=HELLO | {"stream": stream})
        samples = await scrape(served)
    assert value(samples, "requests_total", route="/chat/completions", status="200") == 2
    assert value(samples, "request_seconds_count", route="/chat/completions") == 2
    assert value(samples, "prompt_tokens_total", model="fake") == 2
    assert value(samples, "completion_tokens_total", model="fake") == 8
    assert value(samples, "cached_prompt_tokens_total", model="fake") == 0
    assert value(samples, "prefix_cache_requests_total", model="fake", result="miss") == 2
    for name in ("time_to_first_token", "queue", "prompt", "load"):
        expected = 1 if name == "load" else 2
        assert value(samples, f"{name}_seconds_count", model="fake") == expected
    assert value(samples, "prompt_seconds_sum", model="fake") == pytest.approx(0.02)


async def test_times_between_pieces_are_taken_at_each_hand_over(serve: Serve) -> None:
    backend = FakeBackend(" ".join(["word"] * 10), token_delay_seconds=0.005)
    async with serve(backend) as served:
        await served.client.post(CHAT, json=HELLO | {"stream": True})
        samples = await scrape(served)
    assert value(samples, "inter_token_seconds_count", model="fake") == 9
    assert value(samples, "inter_token_seconds_sum", model="fake") >= 9 * 0.004


async def test_errors_are_counted_by_their_code_and_never_by_what_a_client_sent(
    call: Serve,
) -> None:
    backend = FakeBackend(failure=EngineFailed("broken"))
    async with call(backend) as served:
        await served.client.post(CHAT, json=HELLO)
        for number in range(3):
            await served.client.post(CHAT, json=HELLO | {"model": f"none-{number}"})
            await served.client.get(f"/nothing/{number}")
            await served.client.get(f"/models/none-{number}")
        samples = await scrape(served)
        text = (await served.client.get("/metrics")).text
    assert value(samples, "errors_total", code="model_not_found") == 6
    assert value(samples, "errors_total", code="route_unknown") == 3
    assert value(samples, "requests_total", route="none", status="404") == 3
    assert value(samples, "requests_total", route="/models/{name:path}", status="404") == 3
    assert value(samples, "requests_total", route="/chat/completions", status="503") == 1
    assert "none-" not in text
    assert "/nothing" not in text


async def test_a_client_that_leaves_is_counted_with_what_it_got(serve: Serve) -> None:
    backend = FakeBackend(" word" * 1000, token_delay_seconds=0.005)
    async with serve(backend) as served:
        async with connected(served) as connection:
            await connection.post(HELLO | {"stream": True})
            await connection.read_until(b" word")
            assert value(await scrape(served), "requests_in_flight") == 2
        await served.record()
        await until(lambda: backend.running == 0)
        samples = await scrape(served)
    assert value(samples, "clients_left_total") == 1
    assert value(samples, "completion_tokens_total", model="fake") >= 1
    assert value(samples, "requests_in_flight") == 1, "the scrape itself"


async def test_engines_and_memory_are_told_as_they_are(call: Serve) -> None:
    backend = FakeBackend()
    manager = _manager(backend)
    async with call(manager=manager) as served:
        samples = await scrape(served)
        assert value(samples, "model_state", model="fake", state="loaded") == 1
        assert value(samples, "model_state", model="fake", state="loading") == 0
        assert value(samples, "engine_cells", model="fake") == 4096
        for name in (
            "running",
            "waiting",
            "cells_used",
            "cells_kept",
            "disk_bytes",
            "step_age_seconds",
        ):
            assert value(samples, f"engine_{name}", model="fake") == 0
        assert value(samples, "engine_steps_total", model="fake") == 0
        assert value(samples, "device_memory_held_bytes", device="CPU") == 5096
        assert value(samples, "device_memory_capacity_bytes", device="CPU") == 1 << 20
        assert value(samples, "model_memory_bytes", model="fake", device="CPU") == 5096
        await manager.unload("fake")
        samples = await scrape(served)
        assert value(samples, "model_state", model="fake", state="unloaded") == 1
        assert ("localserve_engine_cells", frozenset({("model", "fake")})) not in samples
        assert value(samples, "device_memory_held_bytes", device="CPU") == 0


def _manager(backend: FakeBackend) -> ModelManager:
    async def load(*arguments: object) -> FakeBackend:
        return backend

    return ModelManager(
        fake_spec(),
        load,
        offer=FakeOffer((fake_spec(),)),
        estimate=fake_estimate({"fake": 1000}),
        room=FakeRoom(1 << 20),
    )


async def test_a_load_that_fails_is_counted(call: Serve) -> None:
    manager = fake_manager(FakeBackend(), failure=ModelUnusable("The file is cut off."))
    async with call(manager=manager, ready=False) as served:
        await until(lambda: hasattr(manager.state, "error"))
        samples = await scrape(served)
    assert value(samples, "load_failures_total", model="fake") == 1
    assert value(samples, "model_state", model="fake", state="failed") == 1


async def test_vectors_are_counted_as_prompts(call: Serve) -> None:
    async with call() as served:
        await served.client.post("/v1/embeddings", json={"input": "12345"})
        samples = await scrape(served)
    assert value(samples, "prompt_tokens_total", model="fake") == 5
    assert value(samples, "requests_total", route="/embeddings", status="200") == 1
    assert ("localserve_time_to_first_token_seconds_count", frozenset()) not in samples


async def test_openmetrics_is_given_where_it_is_asked_for(call: Serve) -> None:
    async with call() as served:
        accept = {"accept": "application/openmetrics-text; version=1.0.0"}
        response = await served.client.get("/metrics", headers=accept)
        assert response.headers["content-type"].startswith("application/openmetrics-text")
        assert "localserve_build" in {family.name for family in parse_open(response.text)}


async def test_every_metric_of_the_dashboard_exists_and_every_metric_is_documented(
    call: Serve, tmp_path: Path
) -> None:
    backend = FakeBackend("a b c", token_delay_seconds=0.001)
    async with call(backend, response_cache=True, cache_dir=tmp_path) as served:
        await served.client.post(CHAT, json=HELLO | {"stream": True})
        await served.client.get("/nothing")
        names = {name for name, _ in await scrape(served)}
    dashboard = json.loads((DOCS / "grafana-dashboard.json").read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", ())]
    assert all(one.count("(") == one.count(")") for one in shown)
    variables = [variable["query"] for variable in dashboard["templating"]["list"]]
    used = set(re.findall(r"\b(?:localserve|process)_\w+", " ".join([*shown, *variables])))
    # Labelled, and nothing failed.
    unseen = {"localserve_load_failures_total", "localserve_route_fallbacks_total"}
    assert used - names - unseen == set()
    assert len(used) >= 25
    documented = set(re.findall(r"`(localserve_\w+)`", (DOCS / "observability.md").read_text()))
    own = {name for name in names if name.startswith("localserve_")}
    families = {re.sub("_(bucket|count|sum|created)$", "", name) for name in own}
    families = {name if name in own or f"{name}_count" in own else "" for name in families} - {""}
    assert families - documented == set()
    assert documented - families - unseen == set()


def test_panels_of_the_dashboard_have_ids_and_places_of_their_own() -> None:
    panels = json.loads((DOCS / "grafana-dashboard.json").read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels}
    assert len(places) == len(panels)


async def test_every_dialect_is_counted_and_what_computes_nothing_is_not(call: Serve) -> None:
    message = {"model": "fake", "max_tokens": 9, "messages": HELLO["messages"]}
    async with call() as served:
        for path, body in (
            ("/v1/messages", message),
            ("/v1/responses", {"input": "Hello"}),
            ("/infill", {"input_prefix": "a", "input_suffix": "b"}),
            ("/completion", {"prompt": "Hello"}),
        ):
            before = await scrape(served) if path != "/v1/messages" else {}
            assert (await served.client.post(path, json=body)).status_code == 200, path
            key = ("localserve_completion_tokens_total", frozenset({("model", "fake")}))
            assert (await scrape(served))[key] == before.get(key, 0) + 2, path
        before = await scrape(served)
        for path, body in (
            ("/v1/messages/count_tokens", message),
            ("/tokenize", {"content": "a b c"}),
            ("/apply-template", HELLO),
        ):
            assert (await served.client.post(path, json=body)).status_code == 200, path
        assert value(await scrape(served), "prompt_tokens_total", model="fake") == value(
            before, "prompt_tokens_total", model="fake"
        )
