"""Live means that the process answers, ready that the model does."""

from __future__ import annotations

import asyncio

from localserve.errors import ModelUnusable
from localserve.testing import FakeBackend, fake_manager
from tests.server.conftest import Serve, until


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
