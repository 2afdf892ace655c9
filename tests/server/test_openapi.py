"""The description of the API says what the application does."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2
import jsonschema
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from localserve.config import read_settings
from localserve.server.app import create_app
from localserve.server.openapi import openapi_document
from localserve.server.openapi.declared import JSON, Declared
from localserve.server.openapi.document import DECLARED
from localserve.server.openapi.pages import FILES, VIEWER
from localserve.testing import FakeBackend, fake_manager
from tests.server.conftest import Serve

UNDESCRIBED = {"/openapi.json", "/docs", "/docs/{file}"}
"""The description itself."""

DOCUMENT = openapi_document("1")


def test_it_is_valid_openapi() -> None:
    validator = pytest.importorskip("openapi_spec_validator")
    validator.validate(DOCUMENT)


def test_every_route_is_described_and_nothing_else() -> None:
    app = create_app(fake_manager(FakeBackend()), read_settings({}, {}))
    served = set()
    for route in app.routes:
        assert isinstance(route, Route)
        methods = (route.methods or {"GET"}) - {"HEAD"}
        served |= {(method, route.path or "/") for method in methods}
    described = {(one.method, one.path) for one in DECLARED}
    assert described <= served
    without_version = {(method, path.removeprefix("/v1") or "/") for method, path in described}
    for method, path in served:
        if path not in UNDESCRIBED and (method, path) not in described:
            assert (method, path.removeprefix("/v1") or "/") in without_version


def test_operations_have_names_of_their_own() -> None:
    names = [one.operation for one in DECLARED]
    assert len(set(names)) == len(names)
    assert "post_chat_completions" in names


def test_every_error_of_a_route_is_explained() -> None:
    answers = DOCUMENT["paths"]["/v1/chat/completions"]["post"]["responses"]
    assert "`context_length_exceeded`" in answers["400"]["description"]
    assert "`model_not_found`" in answers["404"]["description"]
    assert {"200", "401", "403", "413", "422", "429", "503"} <= set(answers)
    assert "529" in DOCUMENT["paths"]["/v1/messages"]["post"]["responses"]
    assert "501" in DOCUMENT["paths"]["/infill"]["post"]["responses"]


def test_who_needs_no_key_is_told_so() -> None:
    assert DOCUMENT["paths"]["/health/live"]["get"]["security"] == []
    assert "security" not in DOCUMENT["paths"]["/v1/models"]["get"]
    assert set(DOCUMENT["components"]["securitySchemes"]) == {"bearer", "x-api-key", "api-key"}


def named(one: Declared) -> str:
    return f"{one.method} {one.path}"


WITH_BODY = [one for one in DECLARED if one.body is not None]


@pytest.mark.parametrize("one", WITH_BODY, ids=named)
def test_every_body_has_an_example_that_fits(one: Declared) -> None:
    assert one.body is not None
    assert one.example is not None
    one.body.model_validate_json(json.dumps(one.example))
    media = DOCUMENT["paths"][one.url][one.method.lower()]["requestBody"]["content"][JSON]
    check(one.example, media["schema"])


NEEDS_MORE = {"/api/pull", "/api/delete", "/admin/keys", "/api/show", "/admin/reload"}
"""The network, a file of a model, or folders that can be written."""

ANSWERED = [
    one
    for one in DECLARED
    if one.answer is not None and one.path not in NEEDS_MORE and "/{" not in one.path
]


@pytest.mark.parametrize("one", ANSWERED, ids=named)
async def test_answers_are_as_described(one: Declared, call: Serve) -> None:
    async with call(FakeBackend("Paris it is.")) as served:
        response = await served.client.request(one.method, one.path, json=one.example)
    assert response.status_code == 200, response.text
    media = response.headers["content-type"].partition(";")[0]
    described = operation(one)["responses"]["200"]["content"]
    check(response.json(), described[media]["schema"])


@pytest.mark.parametrize("one", WITH_BODY, ids=named)
async def test_refusals_are_as_described(one: Declared, call: Serve) -> None:
    path = one.path.replace("{name:path}", "fake").replace("{name}", "ci")
    async with call() as served:
        response = await served.client.request(one.method, path, json=[1])
    answers = operation(one)["responses"]
    assert str(response.status_code) in answers
    assert response.status_code in (400, 422)
    check(response.json(), answers[str(response.status_code)]["content"][JSON]["schema"])


def operation(one: Declared) -> dict[str, Any]:
    described: dict[str, Any] = DOCUMENT["paths"][one.url][one.method.lower()]
    return described


def check(document: object, schema: dict[str, Any]) -> None:
    whole = {**schema, "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator(whole).validate(document)


async def test_the_page_needs_nothing_from_elsewhere_and_no_key(call: Serve) -> None:
    async with call(api_key="a-key-with-all-the-rights") as served:
        page = await served.client.get("/docs")
        assert page.headers["content-type"].startswith("text/html")
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        for name in re.findall(r'(?:src|href)="(?!data:)([^"]+)"', page.text):
            assert (await served.client.get(f"/{name}")).status_code == 200, name
        assert "://" not in page.text
        assert (await served.client.get("/openapi.json")).json()["openapi"] == "3.1.0"
        assert (await served.client.get("/v1/models")).status_code == 401


async def test_of_the_page_only_its_files_are_given_out(call: Serve) -> None:
    async with call() as served:
        assert "Apache License" in (await served.client.get("/docs/LICENSE")).text
        for name in ("README.md", "index.html", "..%2Fendpoints.py", "%2Fetc%2Fpasswd"):
            assert (await served.client.get(f"/docs/{name}")).status_code == 404


def test_the_page_has_all_its_files() -> None:
    kept = {path.name for path in VIEWER.iterdir()}
    assert kept == {*FILES, "index.html", "README.md"}


async def test_a_mounted_application_says_where_it_is(call: Serve) -> None:
    async with call() as served:
        app = Starlette(routes=[Mount("/llm", served.app)])
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as client:
            described = (await client.get("/llm/openapi.json")).json()
            assert (await client.get("/llm/docs/begin.js")).status_code == 200
    assert described["servers"] == [{"url": "/llm"}]
