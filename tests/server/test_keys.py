"""Keys over HTTP: who gets in, who does not, and what nobody ever gets to see."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import openai
import pytest
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from localserve.errors import KeyMissing
from localserve.gateway.authenticated import Authenticated
from localserve.gateway.keyring import Keyring
from localserve.gateway.paths import is_open_path, route_path
from localserve.gateway.store import KeyStore
from localserve.server.request_lines import format_record
from localserve.testing import FakeBackend
from tests.manager.rig import Rig
from tests.server.conftest import CHAT, HELLO, Serve, Served, connected


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "keys.sqlite")


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


def sdk(served: Served, key: str) -> openai.AsyncOpenAI:
    base_url = f"http://127.0.0.1:{served.port}/v1"
    return openai.AsyncOpenAI(base_url=base_url, api_key=key, max_retries=0, timeout=30)


async def say_hello(client: openai.AsyncOpenAI) -> str | None:
    answer = await client.chat.completions.create(
        model="", messages=[{"role": "user", "content": "Hello"}]
    )
    return answer.choices[0].message.content


async def test_the_official_client_gets_in_with_a_key_and_is_told_why_it_does_not(
    serve: Serve, store: KeyStore, tmp_path: Path
) -> None:
    secret = store.create("laptop", now=0.0).secret
    async with (
        serve(data_dir=tmp_path) as served,
        sdk(served, secret) as good,
        sdk(served, "wrong") as wrong,
    ):
        assert await say_hello(good) == "Hello there!"
        assert [model.id async for model in good.models.list()] == ["fake"]
        with pytest.raises(openai.AuthenticationError) as refused:
            await say_hello(wrong)
        assert refused.value.code == "invalid_api_key"
        store.create("other", now=1.0)
        store.revoke("laptop", now=1.0)
        while (await served.client.get("/v1/models", headers=bearer(secret))).is_success:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        with pytest.raises(openai.AuthenticationError, match="'laptop' was revoked"):
            await say_hello(good)
        with pytest.raises(openai.AuthenticationError, match="revoked"):
            await good.chat.completions.create(
                model="", messages=[{"role": "user", "content": "Hello"}], stream=True
            )


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "api-key", "X-Api-Key"])
async def test_a_key_is_taken_from_each_header_that_clients_use(
    call: Serve, store: KeyStore, tmp_path: Path, header: str
) -> None:
    secret = store.create("laptop", now=0.0).secret
    async with call(data_dir=tmp_path) as served:
        value = f"Bearer {secret}" if header == "authorization" else secret
        answer = await served.client.post(CHAT, json=HELLO, headers={header: value})
        assert answer.status_code == 200


async def test_a_refusal_is_an_error_as_all_others_with_the_way_to_authenticate(
    call: Serve, store: KeyStore, tmp_path: Path
) -> None:
    store.create("laptop", now=0.0)
    async with call(data_dir=tmp_path) as served:
        missing = await served.client.post(CHAT, json=HELLO)
        wrong = await served.client.post(CHAT, json=HELLO, headers=bearer("ls-wrong"))
        for answer, code in ((missing, "missing_api_key"), (wrong, "invalid_api_key")):
            assert answer.status_code == 401
            body = answer.json()
            assert body["error"]["code"] == code
            assert body["error"]["type"] == "authentication_error"
            assert (body["type"], body["status"]) == (f"/errors/{code}", 401)
            assert body["instance"] == f"/requests/{answer.headers['x-request-id']}"
        assert missing.headers["www-authenticate"] == 'Bearer realm="localserve"'
        assert wrong.headers["www-authenticate"].endswith('error="invalid_token"')


async def test_only_whether_the_server_is_there_can_be_asked_without_a_key(
    call: Serve, store: KeyStore, tmp_path: Path
) -> None:
    store.create("laptop", now=0.0)
    async with call(data_dir=tmp_path) as served:
        for path in ("/", "/v1", "/health", "/v1/health/ready", "/errors/key_exists"):
            assert (await served.client.get(path)).status_code == 200, path
        for route in served.app.routes:
            assert isinstance(route, Route)
            path = route.path.replace("{name:path}", "fake").replace("{name}", "laptop")
            if is_open_path(route_path({"path": path})):
                continue
            for method in route.methods or ():
                answer = await served.client.request(method, path)
                assert answer.status_code == 401, (method, path)
        for path in ("//v1//models/", "/nothing", "/health/../models", "/v1/%6dodels", "/HEALTH"):
            assert (await served.client.get(path)).status_code == 401, path


async def test_administration_takes_a_key_of_the_scope_admin(
    call: Serve, store: KeyStore, tmp_path: Path
) -> None:
    laptop = bearer(store.create("laptop", now=0.0).secret)
    boss = bearer(store.create("boss", now=0.0, scope="admin").secret)
    async with call(data_dir=tmp_path) as served:
        for path in ("/admin/models", "/v1//admin/keys/", "/%61dmin/models"):
            refused = await served.client.get(path, headers=laptop)
            assert refused.status_code == 403, path
            assert refused.json()["error"]["code"] == "key_forbidden"
            assert refused.json()["error"]["type"] == "permission_error"
            assert (await served.client.get(path, headers=boss)).status_code == 200, path
        load = await served.client.post("/admin/models/fake/load", headers=laptop)
        assert load.status_code == 403
        assert (await served.client.post(CHAT, json=HELLO, headers=boss)).status_code == 200


async def test_a_key_may_be_for_some_models_only_by_any_of_their_names(
    call: Serve, store: KeyStore, tmp_path: Path
) -> None:
    rig = Rig({"chat": 10, "code": 10, "large": 10}, 100, context_tokens=0)
    headers = bearer(store.create("laptop", now=0.0, models=["CODE"]).secret)
    async with call(manager=rig.manager, data_dir=tmp_path) as served:
        for body, status in (
            (HELLO, 403),  # the default model is another
            (HELLO | {"model": "large"}, 403),
            (HELLO | {"model": "code"}, 200),
            (HELLO | {"model": "Code"}, 200),
        ):
            answer = await served.client.post(CHAT, json=body, headers=headers)
            assert answer.status_code == status, body
        assert rig.loaded() == {"chat", "code"}, "what is refused is not loaded"
        listed = (await served.client.get("/v1/models", headers=headers)).json()["data"]
        assert [model["id"] for model in listed] == ["code"]
        assert (await served.client.get("/v1/models/chat", headers=headers)).status_code == 404


async def test_each_key_has_a_scope_of_its_own_for_kept_prefixes(
    call: Serve, store: KeyStore, tmp_path: Path
) -> None:
    backend = FakeBackend()
    async with call(backend, data_dir=tmp_path) as served:
        await served.client.post(CHAT, json=HELLO)
        old = store.create("laptop", now=0.0)
        other = store.create("other", now=0.0)
        new = store.rotate("laptop", now=0.0, grace_seconds=1e12)
    async with call(backend, data_dir=tmp_path) as served:
        for issued in (old, new, other):
            headers = bearer(issued.secret)
            await served.client.post(CHAT, json=HELLO, headers=headers)
            body = {"prompt": "Hello"}
            await served.client.post("/v1/completions", json=body, headers=headers)
    scopes = [request.scope for request in backend.requests]
    laptop, another = old.key.id, other.key.id
    assert scopes == ["", laptop, laptop, laptop, laptop, another, another]


async def test_keys_are_made_listed_rotated_and_revoked_over_http(
    call: Serve, store: KeyStore, tmp_path: Path
) -> None:
    async with call(data_dir=tmp_path) as served:
        client = served.client
        body = {"name": "boss", "scope": "admin"}
        made = await client.post("/admin/keys", json=body)
        assert made.status_code == 200
        assert made.headers["cache-control"] == "no-store"
        boss = bearer(made.json()["key"])
        assert (await client.get("/admin/keys")).status_code == 401, "a key is needed at once"
        body = {"name": "ci", "models": ["fake"], "expires": "30d"}
        first = (await client.post("/admin/keys", json=body, headers=boss)).json()
        assert (first["scope"], first["models"], first["state"]) == (
            "inference",
            ["fake"],
            "active",
        )
        rotated = await client.post("/admin/keys/ci/rotate", json={"grace": "0"}, headers=boss)
        again = await client.post(CHAT, json=HELLO, headers=bearer(first["key"]))
        assert again.status_code == 401
        second = rotated.json()["key"]
        assert (await client.post(CHAT, json=HELLO, headers=bearer(second))).status_code == 200
        revoked = await client.post("/admin/keys/ci/revoke", headers=boss)
        assert revoked.json()["state"] == "revoked"
        assert (await client.post(CHAT, json=HELLO, headers=bearer(second))).status_code == 401
        listed = await client.get("/admin/keys", headers=boss)
        assert [key["name"] for key in listed.json()["keys"]] == ["boss", "ci"]
        for secret in (first["key"], second, boss["authorization"].split()[1]):
            assert secret not in listed.text + revoked.text


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("", {"name": "laptop"}, 409, "key_exists"),
        ("", {"name": "a b"}, 400, "invalid_request"),
        ("", {}, 422, "invalid_schema"),
        ("", {"name": "x", "scope": "root"}, 422, "invalid_schema"),
        ("", {"name": "x", "expires": "1999-01-01"}, 400, "invalid_request"),
        ("", {"name": "x", "modles": []}, 422, "invalid_schema"),
        ("/nobody/rotate", {}, 404, "key_not_found"),
        ("/nobody/revoke", {}, 404, "key_not_found"),
        ("/laptop/rotate", {"grace": "soon"}, 400, "invalid_request"),
    ],
)
async def test_what_cannot_be_done_with_keys_changes_nothing(
    call: Serve,
    store: KeyStore,
    tmp_path: Path,
    path: str,
    body: dict[str, object],
    status: int,
    code: str,
) -> None:
    boss = bearer(store.create("laptop", now=0.0, scope="admin").secret)
    before = store.read()
    async with call(data_dir=tmp_path) as served:
        answer = await served.client.post(f"/admin/keys{path}", json=body, headers=boss)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert store.read() == before


async def test_a_store_that_cannot_be_read_lets_nobody_in(call: Serve, tmp_path: Path) -> None:
    (tmp_path / "keys.sqlite").write_bytes(b"no database" * 100)
    async with call(data_dir=tmp_path) as served:
        answer = await served.client.post(CHAT, json=HELLO)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "store_failed"
        assert answer.headers["retry-after"] == "30"
        assert (await served.client.get("/health/live")).status_code == 200


async def test_an_address_of_other_machines_is_open_to_none_without_keys(call: Serve) -> None:
    async with call(host="0.0.0.0") as served:
        assert (await served.client.post(CHAT, json=HELLO)).status_code == 401


async def test_the_log_names_the_key_and_nothing_shows_a_secret(
    serve: Serve, store: KeyStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = store.create("laptop", now=0.0).secret
    environment, wrong = "of-the-environment", "ls-00000000-" + "x" * 43
    seen = ""
    async with serve(data_dir=tmp_path, api_key=environment) as served:
        for key in (secret, environment, wrong):
            for body in (HELLO, HELLO | {"temperature": "hot"}, HELLO | {"model": "none"}):
                answer = await served.client.post(CHAT, json=body, headers=bearer(key))
                seen += answer.text + str(answer.headers) + format_record(await served.record())
    assert "key laptop | fake" in seen
    assert "key (LOCALSERVE_API_KEY) | " in seen
    for key in (secret, environment, wrong):
        assert key not in seen + caplog.text


async def test_forged_and_odd_headers_are_answered_and_let_nobody_in(
    serve: Serve, store: KeyStore, tmp_path: Path
) -> None:
    store.create("laptop", now=0.0)
    async with serve(data_dir=tmp_path) as served:
        for header in (
            b"authorization: Bearer \xff\xfe",
            b"authorization: Bearer " + b"x" * 60_000,
            b"authorization:",
            b"authorization: Bearer ls-00000000-" + b"A" * 43,
            b"x-api-key: ' OR 1=1 --",
            b"x-forwarded-for: 127.0.0.1\r\nx-real-ip: 127.0.0.1",
            b"x-http-method-override: GET\r\nx-original-url: /health/live",
        ):
            async with connected(served) as connection:
                await connection.send_raw(
                    b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n" + header + b"\r\n\r\n"
                )
                assert b" 401 " in await connection.read_until(b"\r\n"), header[:40]


async def test_what_is_no_http_request_needs_a_key_too(store: KeyStore, tmp_path: Path) -> None:
    store.create("laptop", now=0.0)
    sent: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        sent.append(scope["type"])

    ring = Keyring(store, open_without_keys=True)
    checked = Authenticated(app, ring, on_caller=lambda scope, caller: None)
    socket = {"type": "websocket", "path": "/v1/responses", "headers": []}
    with pytest.raises(KeyMissing):
        await checked(socket, None, None)  # type: ignore[arg-type]
    await checked({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert sent == ["lifespan"]


async def test_a_flood_of_wrong_keys_lets_nobody_in_and_keeps_nobody_out(
    call: Serve, store: KeyStore, tmp_path: Path
) -> None:
    good = bearer(store.create("laptop", now=0.0).secret)
    async with call(data_dir=tmp_path) as served:

        async def ask(number: int) -> int:
            headers = bearer(f"ls-{number:08x}-{'x' * 43}") if number % 10 else good
            return (await served.client.get("/v1/models", headers=headers)).status_code

        statuses = await asyncio.gather(*map(ask, range(500)))
    assert statuses == [401 if number % 10 else 200 for number in range(500)]
