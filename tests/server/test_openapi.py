"""The description of the API says what the application does."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2
import jsonschema
import openapi_spec_validator
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from localserve.catalog.routes import Route as ModelRoute
from localserve.catalog.routes import RouteTable, Target
from localserve.config import read_settings
from localserve.errors import (
    AmbiguousName,
    ContextOverflow,
    FieldProblem,
    InvalidSchema,
    LocalserveError,
    NoFillMiddle,
    RateLimited,
    UnknownModel,
    WrongTask,
    error_types,
)
from localserve.server.app import create_app
from localserve.server.errors import status_of
from localserve.server.openapi.declarations import DECLARED
from localserve.server.openapi.declared import JSON, Declared
from localserve.server.openapi.document import openapi_document
from localserve.server.openapi.pages import FILES, VIEWER
from localserve.testing import FakeBackend, fake_manager
from tests.server.conftest import Serve

UNDESCRIBED = {
    "/openapi.json": "is the description",
    "/docs": "is the page that shows it",
    "/docs/{file}": "is what that page is made of",
    "/dashboard/{name}": "is what the dashboard is made of",
}
"""Why a route is not in the description."""

DOCUMENT = openapi_document("1")


def test_it_is_valid_openapi() -> None:
    openapi_spec_validator.validate(DOCUMENT)


def served_routes() -> set[tuple[str, str]]:
    """Methods and paths of the application."""
    app = create_app(fake_manager(FakeBackend()), read_settings({}, {}))
    found = set()
    for route in app.routes:
        assert isinstance(route, Route), f"{route} is none of ours: describe what is below it"
        methods = (route.methods or {"GET"}) - {"HEAD"}
        found |= {(method, route.path or "/") for method in methods}
    return found


def test_every_route_is_described_and_nothing_else() -> None:
    served = served_routes()
    described = {(one.method, one.path) for one in DECLARED}
    assert described - served == set()
    assert UNDESCRIBED.keys() <= {path for _, path in served}
    without_version = {(method, path.removeprefix("/v1") or "/") for method, path in described}
    missing = {
        (method, path)
        for method, path in served - described
        if (method, path.removeprefix("/v1") or "/") not in without_version
    }
    assert {path for _, path in missing} == set(UNDESCRIBED)


ARGUMENTS: dict[type[LocalserveError], tuple[object, ...]] = {
    InvalidSchema: ((FieldProblem("a", "It failed.", "wrong"),),),
    ContextOverflow: (2, 1),
    NoFillMiddle: ("fake", None),
    UnknownModel: ("none", ()),
    AmbiguousName: ("both", ("a", "b")),
    RateLimited: ("requests", 1, 1, 0, 1),
}
"""What errors are made of that say more than a message."""

MODULES = ("localserve.errors", "localserve.server.errors", "localserve.gateway.refusals")
KINDS = [kind for kind in error_types() if kind.__module__ in MODULES]


def made(kind: type[LocalserveError]) -> LocalserveError:
    """An error of that kind."""
    if kind is WrongTask:
        return WrongTask("It failed.", hint="")
    return kind(*ARGUMENTS.get(kind, ("It failed.",)))  # type: ignore[arg-type]


FAILING = ["/v1/chat/completions", "/v1/messages", "/infill", "/api/chat", "/api/v0/completions"]


@pytest.mark.parametrize("path", FAILING)
async def test_errors_have_the_statuses_that_their_dialect_gives_them(
    path: str, call: Serve
) -> None:
    (dialect,) = {one.dialect.name: one.dialect for one in DECLARED if one.path == path}.values()
    (example,) = [one.example for one in DECLARED if one.path == path]
    for kind in KINDS:
        error = made(kind)
        async with call(FakeBackend(failure=error)) as served:
            answer = await served.client.post(path, json=example)
        assert dialect.status(kind, status_of(kind)) == answer.status_code, kind.__name__


def test_answers_that_ask_for_patience_say_how_much() -> None:
    for path, operations in DOCUMENT["paths"].items():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                headers = answer.get("headers", {})
                if status in ("429", "503", "529") and path != "/health/details":
                    assert "Retry-After" in headers, (path, status)
                if status == "401":
                    assert "WWW-Authenticate" in headers, path
                assert status == "default" or "X-Request-Id" in headers


def test_a_query_is_described_by_the_model_that_reads_it() -> None:
    parameters = DOCUMENT["paths"]["/admin/routes/explain"]["get"]["parameters"]
    by_name = {one["name"]: one for one in parameters}
    assert by_name["route"]["required"]
    assert by_name["turns"]["schema"] == {
        "type": "integer",
        "default": 1,
        "minimum": 1,
        "maximum": 100_000,
    }
    assert by_name["max_tokens"]["schema"]["type"] == "integer"
    assert "null" not in json.dumps(parameters)


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


NEEDS_MORE = (
    *("/api/pull", "/api/delete", "/api/show", "/admin/keys", "/admin/reload"),
    *("/v1/responses/{", "/admin/requests/{", "/admin/fit", "/admin/pulls/{"),
)
"""The network, a file of a model, folders that can be written, or what was asked before."""

ANSWERED = [
    one for one in DECLARED if one.answer is not None and not one.path.startswith(NEEDS_MORE)
]

ROUTES = RouteTable((ModelRoute("auto", "order", (Target("fake"),)),))


@pytest.mark.parametrize("one", ANSWERED, ids=named)
async def test_answers_are_as_described(one: Declared, call: Serve) -> None:
    query = {"route": "auto"} if one.path == "/admin/routes/explain" else {}
    async with call(FakeBackend("Paris it is."), arguments={"routes": ROUTES}) as served:
        response = await served.client.request(
            one.method, filled(one), json=one.example, params=query
        )
    assert response.status_code == 200, response.text
    media = response.headers["content-type"].partition(";")[0]
    described = operation(one)["responses"]["200"]
    check(response.json(), described["content"][media]["schema"])
    for name in described["headers"]:
        needed = DOCUMENT["components"]["headers"][name]["required"]
        assert name.lower() in response.headers or not needed, name


def filled(one: Declared) -> str:
    """The path, with a model, a key or an error for what it leaves open."""
    path = one.path.replace("{name:path}", "fake").replace("{name}", "ci")
    return path.replace("{code}", "overloaded")


@pytest.mark.parametrize("one", WITH_BODY, ids=named)
async def test_refusals_are_as_described(one: Declared, call: Serve) -> None:
    async with call() as served:
        response = await served.client.request(one.method, filled(one), json=[1])
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
