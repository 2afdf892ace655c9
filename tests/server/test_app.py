"""Routes: where they are, and what they say."""

from __future__ import annotations

import pytest

from localserve.errors import ConfigInvalid, error_types
from localserve.testing import FakeBackend, fake_manager, fake_spec
from tests.server.conftest import HELLO, Serve


@pytest.mark.parametrize("prefix", ["", "/v1", "//v1/", "//"])
@pytest.mark.parametrize("path", ["/models", "/models/", "//models//", "/health", "/health/live"])
async def test_paths_are_served_with_and_without_v1_and_with_any_slashes(
    call: Serve, prefix: str, path: str
) -> None:
    async with call() as served:
        response = await served.client.get(f"http://localhost{prefix}{path}")
        assert response.status_code == 200


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/chat/completions/"])
async def test_chat_is_answered_with_and_without_v1(call: Serve, path: str) -> None:
    async with call() as served:
        answer = (await served.client.post(path, json=HELLO)).json()
        assert answer["choices"][0]["message"]["content"] == "Hello there!"


async def test_text_completions_without_v1_are_another_dialects(call: Serve) -> None:
    async with call() as served:
        body = {"prompt": "Hello"}
        assert (await served.client.post("/v1/completions/", json=body)).status_code == 200
        other = (await served.client.post("/completions", json=body)).json()
        assert "choices" not in other


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_the_root_answers(call: Serve, method: str) -> None:
    async with call() as served:
        assert (await served.client.request(method, "/")).status_code == 200


async def test_models_are_listed_with_their_context(call: Serve) -> None:
    async with call(FakeBackend(context_tokens=2048)) as served:
        (model,) = (await served.client.get("/v1/models")).json()["data"]
        assert model["id"] == "fake"
        assert model["max_model_len"] == model["meta"]["n_ctx"] == 2048


async def test_a_client_that_names_its_version_gets_an_empty_catalog(call: Serve) -> None:
    async with call() as served:
        response = await served.client.get("/v1/models?client_version=1.2.3")
        assert response.json() == {"models": []}


async def test_a_model_is_shown_by_name_or_alias_in_any_case(call: Serve) -> None:
    manager = fake_manager(FakeBackend(), spec=fake_spec("Org/Model", ("small",)))
    async with call(manager=manager, ready=False) as served:
        for name in ("org/model", "SMALL"):
            response = await served.client.get(f"/v1/models/{name}")
            assert response.json()["id"] == "Org/Model"


async def test_an_unknown_model_is_not_found_and_the_nearest_named(call: Serve) -> None:
    async with call() as served:
        for response in (
            await served.client.get("/v1/models/none"),
            await served.client.post("/v1/chat/completions", json=HELLO | {"model": "none"}),
            await served.client.post(
                "/v1/chat/completions", json=HELLO | {"model": "none", "stream": True}
            ),
        ):
            assert response.status_code == 404
            error = response.json()["error"]
            assert error["code"] == "model_not_found"
            assert "'fake'" in error["message"]


async def test_an_unknown_path_is_not_found_in_the_one_shape(call: Serve) -> None:
    async with call() as served:
        response = await served.client.get("/nothing/here")
        assert response.status_code == 404
        assert response.json()["error"]["code"] == "route_unknown"
        assert response.headers["content-type"] == "application/json"


async def test_a_wrong_method_names_the_right_ones(call: Serve) -> None:
    async with call() as served:
        response = await served.client.get("/v1/chat/completions")
        assert response.status_code == 405
        assert response.headers["allow"] == "POST"


async def test_every_error_code_is_described_at_its_type(call: Serve) -> None:
    async with call() as served:
        for kind in error_types():
            response = await served.client.get(f"/errors/{kind.code}")
            assert response.status_code == 200
            assert response.json()["detail"] == kind.description
        assert (await served.client.get("/errors/none")).status_code == 404


async def test_reload_calls_what_it_was_given(call: Serve) -> None:
    calls: list[str] = []

    async def reload() -> None:
        calls.append("reload")
        if len(calls) > 1:
            raise ConfigInvalid("models.toml line 3: no such key.")

    async with call(arguments={"reload": reload}) as served:
        assert (await served.client.post("/admin/reload")).status_code == 200
        response = await served.client.post("/admin/reload")
        assert response.status_code == 400
        assert "line 3" in response.json()["detail"]


async def test_without_a_configuration_there_is_nothing_to_reload(call: Serve) -> None:
    async with call() as served:
        assert (await served.client.post("/admin/reload")).status_code == 404


async def test_the_model_is_loaded_at_the_start_and_freed_at_the_end(call: Serve) -> None:
    backend = FakeBackend()
    async with call(backend):
        assert not backend.closed
    assert backend.closed
