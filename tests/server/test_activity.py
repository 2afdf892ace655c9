"""What is answered now and was of late, and the end of a request by hand."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from localserve.gateway.store import KeyStore
from localserve.server.activity import MOST_KEPT
from localserve.testing import FakeBackend
from tests.server.conftest import CHAT, HELLO, Serve, connected, until

ACTIVITY = "/admin/activity"


def endless() -> FakeBackend:
    return FakeBackend("word " * 2000, token_delay_seconds=0.01)


async def activity(served: Any, after: int = 0) -> Any:
    return (await served.client.get(ACTIVITY, params={"after": after})).json()


async def test_requests_that_ended_are_told_newest_first_with_their_timings(call: Serve) -> None:
    async with call() as served:
        for name in ("first", "second"):
            await served.client.post(CHAT, json=HELLO, headers={"x-request-id": name})
        await served.client.post(CHAT, json={}, headers={"x-request-id": "wrong"})
        told = await activity(served)
        assert [one["request_id"] for one in told["recent"]] == ["wrong", "second", "first"]
        assert told["recent"][0]["status"] == 422
        assert told["recent"][1]["completion_tokens"] == 2
        assert told["recent"][1]["total_ms"] > 0
        assert told["models"][0]["state"] == "loaded"
        assert (told["running"], told["ended"]) == ([], 3)
        later = await activity(served, after=2)
        assert [one["request_id"] for one in later["recent"]] == ["wrong"]


async def test_what_asks_no_model_is_not_told_and_nothing_is_told_without_bound(
    call: Serve,
) -> None:
    async with call() as served:
        for path in ("/v1/models", "/admin/models", "/", "/health", "/dashboard/nothing"):
            await served.client.get(path)
        assert (await activity(served))["recent"] == []
        for _ in range(MOST_KEPT + 5):
            await served.client.get("/nothing/here")
        told = await activity(served)
        assert (len(told["recent"]), told["ended"]) == (MOST_KEPT, MOST_KEPT + 5)


async def test_no_text_of_a_request_is_told_even_where_the_log_has_it(call: Serve) -> None:
    async with call(log_bodies=1.0) as served:
        body = {"messages": [{"role": "user", "content": "a-word-of-mine"}]}
        await served.client.post(CHAT, json=body)
        answer = await served.client.get(ACTIVITY)
        assert answer.json()["ended"] == 1
        assert "a-word-of-mine" not in answer.text
        assert "there!" not in answer.text


async def test_any_number_may_be_asked_for(call: Serve) -> None:
    async with call() as served:
        for after in ("-1", "x", "9" * 400, "٣", ""):
            answer = await served.client.get(ACTIVITY, params={"after": after})
            assert answer.status_code == 200


async def test_a_running_stream_is_cancelled_by_hand_and_its_client_is_told(serve: Serve) -> None:
    backend = endless()
    async with serve(backend) as served, connected(served) as connection:
        await connection.post(HELLO | {"stream": True})
        await connection.read_until(b"word")
        (running,) = (await activity(served))["running"]
        assert (running["model"], running["stream"], running["can_cancel"]) == ("fake", True, True)
        path = f"/admin/requests/{running['request_id']}/cancel"
        answer = await served.client.post(path)
        assert (answer.status_code, answer.json()["cancelled"]) == (200, 1)
        assert b"request_cancelled" in await connection.read_until(b"request_cancelled")
        await until(lambda: backend.cancelled == 1)
        ended = await activity(served)
        assert ended["running"] == []
        assert ended["recent"][0]["error"] == "request_cancelled"
        late = await served.client.post(path)
        assert (late.status_code, late.json()["error"]["code"]) == (404, "request_not_running")


async def test_a_request_that_streams_nothing_is_cancelled_with_a_status(serve: Serve) -> None:
    async with serve(endless()) as served:
        waiting = asyncio.create_task(
            served.client.post(CHAT, json=HELLO, headers={"x-request-id": "team/one"})
        )
        await until(lambda: served.manager.report()[0].leases == 1)
        answer = await served.client.post("/admin/requests/team/one/cancel", json={})
        assert answer.status_code == 200
        refused = await waiting
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == "request_cancelled"


async def test_where_keys_exist_all_of_it_is_the_administrators(
    call: Serve, tmp_path: Path
) -> None:
    store = KeyStore(tmp_path / "keys.sqlite")
    asking = store.create("asking", now=0.0).secret
    admin = store.create("admin", now=0.0, scope="admin").secret
    async with call(data_dir=tmp_path) as served:
        for path in (ACTIVITY, "/admin/settings", "/admin/connect"):
            assert (await served.client.get(path)).status_code == 401
            for key, status in ((asking, 403), (admin, 200)):
                headers = {"authorization": f"Bearer {key}"}
                assert (await served.client.get(path, headers=headers)).status_code == status
        refused = await served.client.post("/admin/requests/x/cancel")
        assert refused.status_code == 401


async def test_looking_every_second_meets_no_rate_limit(call: Serve) -> None:
    async with call(requests_per_minute=2) as served:
        for _ in range(5):
            assert (await served.client.get(ACTIVITY)).status_code == 200


async def test_settings_are_told_with_their_sources_and_no_secret(call: Serve) -> None:
    async with call(api_key="the-secret-itself") as served:
        headers = {"authorization": "Bearer the-secret-itself"}
        answer = await served.client.get("/admin/settings", headers=headers)
        assert "the-secret-itself" not in answer.text
        rows = {row["name"]: row for row in answer.json()["settings"]}
        assert rows["api_key"]["secret_is_set"] is True
        assert (rows["port"]["value"], rows["port"]["source"]) == (8080, "default")
        assert rows["port"]["variable"] == "LOCALSERVE_PORT"


async def test_each_client_is_told_the_address_that_was_asked_and_the_loaded_model(
    call: Serve,
) -> None:
    async with call(FakeBackend(name="tiny")) as served:
        document = (await served.client.get("/admin/connect")).json()
        assert document["url"] == "http://localhost"
        clients = {one["name"]: one for one in document["clients"]}
        assert clients["env"]["variables"]["OPENAI_BASE_URL"] == "http://localhost/v1"
        snippet = clients["codex"]["files"][0]["snippet"]
        assert "http://localhost/v1" in snippet
        assert 'model = "tiny"' in snippet
        assert json.loads(clients["opencode"]["files"][0]["snippet"])


async def test_without_a_loaded_model_each_client_has_a_problem_instead(call: Serve) -> None:
    async with call() as served:
        await served.client.post("/admin/models/fake/unload")
        clients = (await served.client.get("/admin/connect")).json()["clients"]
        codex = next(one for one in clients if one["name"] == "codex")
        assert "None of the loaded models" in codex["problem"]
        assert codex["files"] == []


async def test_the_catalog_is_told_with_the_size_of_each_quantization(call: Serve) -> None:
    async with call() as served:
        models = (await served.client.get("/admin/catalog")).json()["models"]
        assert models
        assert all(one["repo"].count("/") == 1 for one in models)
        sizes = [size for one in models for size in one["quantizations"].values()]
        assert sizes
        assert min(sizes) > 1 << 20
