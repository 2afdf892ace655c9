"""Live means that the process answers, ready that the model does."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from localserve.errors import ModelUnusable
from localserve.gateway.store import KeyStore
from localserve.manager import ModelManager
from localserve.server import vitals
from localserve.server.checks import Finding
from localserve.testing import FakeBackend, fake_manager
from tests.redis_server import redis_server
from tests.server.conftest import CHAT, HELLO, Serve, until


async def test_a_loaded_model_that_steps_is_ready(call: Serve) -> None:
    async with call() as served:
        for path in ("/health", "/health/ready", "/v1/health"):
            response = await served.client.get(path)
            assert response.status_code == 200
            body = response.json()
            assert (body["status"], body["state"], body["model"]) == ("ok", "ready", "fake")
            assert set(body["engine"]) == {"running", "waiting", "cells_used", "cells"}


async def test_several_probes_at_once_are_all_answered(call: Serve) -> None:
    async with call() as served:
        probes = [served.client.get("/health/ready") for _ in range(5)]
        assert [response.status_code for response in await asyncio.gather(*probes)] == [200] * 5


async def test_while_it_loads_the_progress_is_told(call: Serve) -> None:
    manager = fake_manager(FakeBackend(), load_seconds=60)
    async with call(manager=manager, ready=False) as served:
        await until(lambda: getattr(manager.state, "share", 0) > 0)
        response = await served.client.get("/health/ready")
        assert response.status_code == 503
        assert response.headers["retry-after"] == "1"
        body = response.json()
        assert (body["state"], body["progress"]) == ("loading", 0.5)
        assert body["error"]["code"] == "model_loading"
        assert (await served.client.get("/health/live")).status_code == 200


async def test_a_model_that_cannot_be_loaded_says_why(call: Serve) -> None:
    manager = fake_manager(FakeBackend(), failure=ModelUnusable("The file is cut off."))
    async with call(manager=manager, ready=False) as served:
        await until(lambda: hasattr(manager.state, "error"))
        response = await served.client.get("/health/ready")
        assert response.status_code == 503
        assert response.json()["state"] == "failed"
        assert "The file is cut off." in response.json()["detail"]


async def test_an_engine_that_does_not_step_is_not_ready(call: Serve) -> None:
    backend = FakeBackend()
    async with call(backend) as served:
        backend.steps = False
        response = await served.client.get("/health")
        assert response.status_code == 503
        assert response.json()["state"] == "stuck"
        assert "retry-after" in response.headers
        backend.steps = True
        assert (await served.client.get("/health")).status_code == 200


async def test_a_dead_engine_is_not_ready_and_is_loaded_again(call: Serve) -> None:
    backend = FakeBackend()
    async with call(backend) as served:
        backend.alive = False
        assert (await served.client.get("/health")).status_code == 503
        assert backend.closed
        backend.alive = True
        assert (await served.client.get("/health")).status_code == 200


async def test_details_show_every_check_with_its_latency(call: Serve, tmp_path: Path) -> None:
    async with call(data_dir=tmp_path) as served:
        for path in ("/health/details", "/v1/health/details"):
            response = await served.client.get(path)
            assert response.status_code == 200
            body = response.json()
            checks = {check["name"]: check for check in body["checks"]}
            assert list(checks) == ["model", "engine fake", "memory", "disk", "keys"]
            assert checks["engine fake"]["status"] == "ok"
            assert checks["model"] == checks["model"] | {"model": "fake", "state": "loaded"}
            assert checks["memory"]["usable_bytes"] >= checks["memory"]["available_bytes"] > 0
            assert checks["disk"]["free_bytes"] > 0
            assert all(check["latency_ms"] >= 0 for check in body["checks"])


async def test_what_checks_need_threads_for_ends_with_the_server(call: Serve) -> None:
    before = set(threading.enumerate())

    def own() -> list[threading.Thread]:
        more = set(threading.enumerate()) - before
        return [one for one in more if one.name.startswith("health")]

    async with call() as served:
        assert (await served.client.get("/health/details")).status_code == 200
        assert own()
    await until(lambda: not own())


async def test_an_engine_that_does_not_step_fails_the_details_and_says_which(call: Serve) -> None:
    backend = FakeBackend()
    async with call(backend) as served:
        backend.steps = False
        response = await served.client.get("/health/details")
        assert response.status_code == 503
        assert response.json()["status"] == "failing"
        (engine,) = (one for one in response.json()["checks"] if one["name"] == "engine fake")
        assert engine["status"] == "failing"
        assert "ms" in engine["problem"]


async def test_a_model_that_loads_degrades_and_one_that_cannot_fails(call: Serve) -> None:
    loading = fake_manager(FakeBackend(), load_seconds=60)
    failed = fake_manager(FakeBackend(), failure=ModelUnusable("The file is cut off."))
    for manager, status, text in (
        (loading, "degraded", "being loaded"),
        (failed, "failing", "cut off"),
    ):
        async with call(manager=manager, ready=False) as served:
            await until(lambda manager=manager: manager.state.name and not _begins(manager))
            checks = (await served.client.get("/health/details")).json()["checks"]
            assert (checks[0]["name"], checks[0]["status"]) == ("model", status)
            assert text in checks[0]["problem"]


def _begins(manager: ModelManager) -> bool:
    return getattr(manager.state, "share", 1.0) == 0.0


async def test_an_unloaded_model_is_well(call: Serve) -> None:
    async with call() as served:
        await served.client.post("/admin/models/fake/unload")
        assert (await served.client.get("/health/ready")).json()["state"] == "unloaded"
        body = (await served.client.get("/health/details")).json()
        assert body["checks"][0] == body["checks"][0] | {"status": "ok", "state": "unloaded"}
        assert "engine fake" not in {check["name"] for check in body["checks"]}


async def test_others_add_checks_of_their_own(call: Serve) -> None:
    async def check() -> Finding:
        return Finding("It does not answer.", details={"url": "http://other"})

    async with call() as served:
        served.app.state.health_checks.add("engine other", check)
        body = (await served.client.get("/health/details")).json()
        assert body["status"] == "degraded"
        assert body["checks"][-1]["url"] == "http://other"


async def test_a_disk_without_room_degrades(call: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vitals, "LOW_DISK_BYTES", 1 << 62)
    monkeypatch.setattr(vitals, "LOW_MEMORY_SHARE", 1.1)
    async with call() as served:
        response = await served.client.get("/health/details")
        problems = {one["name"]: one.get("problem", "") for one in response.json()["checks"]}
        assert response.status_code == 200
        assert "make room" in problems["disk"]
        assert "MB are left" in problems["memory"]


async def test_details_and_metrics_take_a_key_of_their_own_once_there_are_keys(
    call: Serve, tmp_path: Path
) -> None:
    store = KeyStore(tmp_path / "keys.sqlite")
    user = store.create("user", now=0.0).secret
    admin = store.create("admin", now=0.0, scope="admin").secret
    monitor = store.create("prometheus", now=0.0, scope="monitor").secret
    async with call(data_dir=tmp_path) as served:
        for path in ("/health/details", "/metrics", "/v1/metrics"):
            for key, status in (("", 401), (user, 403), (admin, 200), (monitor, 200)):
                headers = {"x-api-key": key} if key else {}
                response = await served.client.get(path, headers=headers)
                assert response.status_code == status, (path, key)
        assert (await served.client.get("/health/ready")).status_code == 200
        headers = {"x-api-key": monitor}
        for path in ("/v1/models", "/admin/models", "/nothing"):
            refused = await served.client.get(path, headers=headers)
            assert refused.status_code == 403, path
            assert "'prometheus' is for /metrics" in refused.json()["detail"]
        assert (await served.client.post(CHAT, json=HELLO, headers=headers)).status_code == 403


async def test_no_rate_limit_hides_how_the_server_does(call: Serve) -> None:
    async with call(requests_per_minute=1) as served:
        for _ in range(3):
            assert (await served.client.get("/metrics")).status_code == 200
            assert (await served.client.get("/health/details")).status_code == 200
        assert (await served.client.get("/v1/models")).status_code == 200
        assert (await served.client.get("/v1/models")).status_code == 429


async def test_a_redis_that_hangs_degrades_and_stops_no_answer(call: Serve) -> None:
    pytest.importorskip("redis", reason="the package redis is not installed")
    connections: list[asyncio.StreamWriter] = []

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)

    hanging = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = hanging.sockets[0].getsockname()[1]
    try:
        options = {"redis_url": f"redis://127.0.0.1:{port}/0", "requests_per_minute": 2}
        async with call(**options) as served:
            statuses = [(await served.client.post(CHAT, json=HELLO)).status_code for _ in range(3)]
            assert statuses == [200, 200, 429], "limits are kept here meanwhile"
            body = (await served.client.get("/health/details")).json()
            assert body["status"] == "degraded"
            (redis,) = (one for one in body["checks"] if one["name"] == "redis")
            assert redis["status"] == "degraded"
    finally:
        for writer in connections:
            writer.close()
        hanging.close()
        await hanging.wait_closed()


async def test_a_redis_that_answers_is_well(call: Serve, tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        async with call(redis_url=redis.url, requests_per_minute=100) as served:
            await served.client.get("/v1/models")
            body = (await served.client.get("/health/details")).json()
            (check,) = (one for one in body["checks"] if one["name"] == "redis")
            assert check["status"] == "ok"
            redis.kill()
            body = (await served.client.get("/health/details")).json()
            assert body["status"] == "degraded"
            assert (await served.client.post(CHAT, json=HELLO)).status_code == 200
