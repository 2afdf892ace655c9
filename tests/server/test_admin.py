"""The admin routes: what they tell, what they change, and whom they refuse."""

from __future__ import annotations

import asyncio

import pytest

from localserve.errors import OutOfMemory
from localserve.manager import Idle
from tests.manager.rig import Rig
from tests.server.conftest import HELLO, Serve

MODELS = "/admin/models"


def two_models() -> Rig:
    return Rig({"chat": 60, "code": 30, "large": 70}, 100, context_tokens=0)


async def test_the_list_tells_states_memory_and_requests(call: Serve) -> None:
    rig = two_models()
    async with call(manager=rig.manager) as served:
        async with rig.manager.lease("code"):
            document = (await served.client.get(MODELS)).json()
        assert document["default"] == "chat"
        chat, code = document["models"]
        assert (chat["id"], chat["state"], chat["requests"]) == ("chat", "loaded", 0)
        assert (code["state"], code["requests"], code["idle_since"]) == ("loaded", 1, None)
        assert chat["idle_since"] is not None
        assert code["memory_bytes"] == {"CPU": 30}
        assert code["predicted"]["devices"][0]["weights_bytes"] == 30
        assert document["memory"] == [
            {
                "device": "CPU",
                "held_bytes": 90,
                "capacity_bytes": 100,
                "part_of": None,
                "total_bytes": None,
                "server_bytes": None,
                "other_bytes": None,
                "free_bytes": None,
            }
        ]


async def test_models_are_loaded_and_unloaded_by_hand(call: Serve) -> None:
    rig = two_models()
    async with call(manager=rig.manager) as served:
        loaded = await served.client.post(f"{MODELS}/code/load")
        assert (loaded.status_code, loaded.json()["state"]) == (200, "loaded")
        unloaded = await served.client.post(f"{MODELS}/code/unload", json={})
        assert unloaded.json()["state"] == "unloaded"
        assert rig.loaded() == {"chat"}
        default = await served.client.post(f"{MODELS}/chat/unload")
        assert default.status_code == 200
        assert isinstance(rig.manager.state, Idle)
        assert (await served.client.get("/health/ready")).json()["state"] == "unloaded"
        answer = await served.client.post("/v1/chat/completions", json=HELLO)
        assert answer.status_code == 200


async def test_a_model_in_use_is_refused_with_numbers_unless_it_is_forced(call: Serve) -> None:
    rig = two_models()
    async with call(manager=rig.manager) as served, rig.manager.lease("chat"):
        refused = await served.client.post(f"{MODELS}/chat/unload")
        assert refused.status_code == 409
        assert refused.json()["error"]["code"] == "model_in_use"
        assert "1 requests" in refused.json()["error"]["message"]
        forced = await served.client.post(f"{MODELS}/chat/unload", json={"force": True})
        assert forced.status_code == 200


async def test_a_pin_keeps_and_what_cannot_fit_beside_it_is_a_400_that_is_not_retried(
    call: Serve,
) -> None:
    rig = two_models()
    async with call(manager=rig.manager) as served:
        assert (await served.client.post(f"{MODELS}/chat/pin")).json()["pinned"] is True
        refused = await served.client.post("/v1/chat/completions", json=HELLO | {"model": "large"})
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == "model_too_large"
        assert "retry-after" not in refused.headers
        assert (await served.client.post(f"{MODELS}/chat/unpin")).json()["pinned"] is False
        answer = await served.client.post("/v1/chat/completions", json=HELLO | {"model": "large"})
        assert answer.status_code == 200


async def test_waiting_for_memory_that_an_answer_holds_is_a_503_with_retry_after(
    call: Serve,
) -> None:
    rig = Rig({"chat": 60, "large": 70}, 100, memory_wait_seconds=0.01)
    async with call(manager=rig.manager) as served, rig.manager.lease("chat"):
        busy = await served.client.post("/v1/chat/completions", json=HELLO | {"model": "large"})
        assert busy.status_code == 503
        assert busy.json()["error"]["code"] == "memory_busy"
        assert int(busy.headers["retry-after"]) > 0


async def test_a_smaller_context_is_told_in_the_responses_headers(call: Serve) -> None:
    rig = Rig({"chat": 1, "code": 1}, 10_000, context_tokens=1_024)
    rig.failures["code"] = [OutOfMemory("no more")]
    async with call(manager=rig.manager) as served:
        for stream in (False, True):
            answer = await served.client.post(
                "/v1/chat/completions", json=HELLO | {"model": "code", "stream": stream}
            )
            assert answer.headers["x-localserve-context-reduced"] == "512; wanted=1024"
        whole = await served.client.post("/v1/chat/completions", json=HELLO)
        assert "x-localserve-context-reduced" not in whole.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize(
    "path", [f"{MODELS}/chat/unload", f"{MODELS}/code/load", f"{MODELS}/chat/pin", "/admin/reload"]
)
async def test_pages_of_other_sites_change_nothing(
    call: Serve, path: str, headers: dict[str, str]
) -> None:
    rig = two_models()
    async with call(manager=rig.manager) as served:
        response = await served.client.post(path, headers=headers)
        assert response.status_code == 403
        assert response.json()["error"]["code"] == "cross_site"
        assert rig.loads == ["chat"]
        assert rig.loaded() == {"chat"}


async def test_the_servers_own_pages_may_change_it(call: Serve) -> None:
    rig = two_models()
    async with call(manager=rig.manager) as served:
        own = {"origin": "http://localhost", "sec-fetch-site": "same-origin"}
        assert (await served.client.post(f"{MODELS}/chat/pin", headers=own)).status_code == 200


@pytest.mark.parametrize("body", [b"[]", b"{", b'{"force": 1}', b'{"other": true}', b"\xff"])
async def test_a_body_that_is_wrong_unloads_nothing(call: Serve, body: bytes) -> None:
    rig = two_models()
    async with call(manager=rig.manager) as served:
        response = await served.client.post(
            f"{MODELS}/chat/unload",
            content=body,
            headers={"content-type": "application/json"},
        )
        assert response.status_code == 422
        assert rig.loaded() == {"chat"}


async def test_a_name_that_nobody_has_is_a_404_for_every_change(call: Serve) -> None:
    rig = two_models()
    async with call(manager=rig.manager) as served:
        for change in ("load", "unload", "pin", "unpin"):
            response = await served.client.post(f"{MODELS}/nothing/{change}")
            assert response.status_code == 404


async def test_names_with_slashes_are_names(call: Serve) -> None:
    rig = Rig({"org/chat": 1}, 100)
    async with call(manager=rig.manager) as served:
        response = await served.client.post(f"{MODELS}/org/chat/pin")
        assert response.json()["id"] == "org/chat"


async def test_all_that_can_be_loaded_is_listed_and_what_is_loaded_has_its_figures(
    call: Serve,
) -> None:
    rig = two_models()
    async with call(manager=rig.manager) as served:
        await served.client.post(f"{MODELS}/code/load")
        data = (await served.client.get("/v1/models")).json()["data"]
        assert [model["id"] for model in data] == ["chat", "code", "large"]
        assert ["meta" in model for model in data] == [True, True, False]


async def test_a_load_that_waits_is_told_with_its_share(call: Serve) -> None:
    rig = Rig(
        {"chat": 1, "code": 1}, 100, load_seconds=lambda name: 60.0 if name == "code" else 0.0
    )
    async with call(manager=rig.manager) as served:
        loading = asyncio.create_task(served.client.post(f"{MODELS}/code/load"))
        async with asyncio.timeout(5):
            while True:
                models = (await served.client.get(MODELS)).json()["models"]
                if models[-1]["id"] == "code" and models[-1]["waiting"]:
                    break
                await asyncio.sleep(0.005)
        assert (models[-1]["state"], models[-1]["progress"]) == ("loading", 0.0)
        await served.client.post(f"{MODELS}/code/unload", json={"force": True})
        assert (await loading).status_code == 503


async def test_a_load_takes_the_options_of_up_and_refuses_others_with_their_bounds(
    call: Serve,
) -> None:
    rig = Rig({"chat": 1, "code": 1}, 100_000, context_tokens=1_024)
    async with call(manager=rig.manager) as served:
        wanted = {"context_tokens": 2_048, "parallel": 2, "cache_type_k": "q8_0", "gpu_layers": 0}
        loaded = await served.client.post(f"{MODELS}/code/load", json=wanted)
        assert loaded.status_code == 200
        assert loaded.json()["context_tokens"] == 2_048
        for name, value, told in [
            ("context_tokens", 63, "64"),
            ("parallel", 257, "256"),
            ("cache_type_v", "q2_k", "q4_0"),
            ("gpu_layers", "all", "integer"),
            ("cpu_moe_layers", -1, "0"),
            ("ctx", 512, "not permitted"),
        ]:
            refused = await served.client.post(f"{MODELS}/code/load", json={name: value})
            assert refused.status_code == 422
            (problem,) = refused.json()["errors"]
            assert name in str(problem)
            assert told in str(problem)
        assert rig.loads.count("code") == 1


async def test_requests_that_name_no_model_get_the_one_that_is_made_the_default(
    call: Serve,
) -> None:
    rig = two_models()
    async with call(manager=rig.manager) as served:
        made = await served.client.post(f"{MODELS}/code/default")
        assert (made.status_code, made.json()["state"]) == (200, "loaded")
        assert (await served.client.get(MODELS)).json()["default"] == "code"
        answer = await served.client.post("/v1/chat/completions", json=HELLO)
        assert answer.json()["model"] == "code"
