"""What web pages may do through a browser, and what they may not: with and without keys."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import httpx2
import pytest

from localserve.gateway.store import KeyStore
from localserve.server import connections
from localserve.testing import FakeBackend
from tests.certificates import make_certificate
from tests.server.conftest import CHAT, HELLO, Serve, connected, until

LOCAL = "http://localhost:3000"
EVIL = "https://evil.example"
NAMED = "vscode-webview://1a2b"
ALLOWED = {"allowed_origins": "https://chat.example, vscode-webview://*"}


def preflight(origin: str, **more: str) -> dict[str, str]:
    return {
        "origin": origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,x-stainless-os",
        **more,
    }


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8080", "localhost.evil.example"])
async def test_a_name_that_was_made_to_lead_here_gets_nothing(call: Serve, host: str) -> None:
    async with call() as served:
        for path in ("/", "/v1/models", "/health/live", "/admin/models"):
            answer = await served.client.get(path, headers={"host": host})
            assert answer.status_code == 403
            assert answer.json()["error"]["code"] == "host_refused"
            assert "LOCALSERVE_ALLOWED_HOSTS" in answer.json()["detail"]


async def test_names_that_are_allowed_and_requests_without_a_host_are_answered(
    serve: Serve,
) -> None:
    async with serve(allowed_hosts="chat.example") as served:
        for host in ("chat.example", "CHAT.example:443", "[::1]:8080", "host.docker.internal"):
            answer = await served.client.get("/v1/models", headers={"host": host})
            assert answer.status_code == 200, host
        async with connected(served) as connection:
            await connection.send("GET /health/live HTTP/1.0")
            assert b" 200 " in await connection.read_until(b"\r\n")
        async with connected(served) as connection:
            await connection.send("GET /health/live HTTP/1.1\nhost: localhost\nhost: evil.example")
            assert b" 403 " in await connection.read_until(b"\r\n")


async def test_where_a_key_protects_any_name_will_do(call: Serve, tmp_path: Path) -> None:
    key = KeyStore(tmp_path / "keys.sqlite").create("laptop", now=0.0).secret
    headers = {"host": "mybox.example", "authorization": f"Bearer {key}"}
    async with call(host="0.0.0.0", data_dir=tmp_path) as served:
        assert (await served.client.get("/v1/models", headers=headers)).status_code == 200
    async with call(host="0.0.0.0", data_dir=tmp_path, allowed_hosts="other.example") as served:
        assert (await served.client.get("/v1/models", headers=headers)).status_code == 403


@pytest.mark.parametrize("origin", [LOCAL, NAMED, "https://chat.example"])
async def test_pages_that_may_are_told_so_in_preflight_answer_and_error(
    call: Serve, origin: str
) -> None:
    async with call(**ALLOWED) as served:
        asked = await served.client.options(CHAT, headers=preflight(origin))
        assert asked.status_code == 200
        assert asked.headers["access-control-allow-origin"] == origin
        assert "POST" in asked.headers["access-control-allow-methods"]
        allowed = asked.headers["access-control-allow-headers"]
        assert allowed == "authorization,content-type,x-stainless-os"
        assert "access-control-allow-private-network" not in asked.headers
        headers = {"origin": origin, "sec-fetch-site": "cross-site"}
        for body in (HELLO, HELLO | {"stream": True}, HELLO | {"model": "none"}):
            answer = await served.client.post(CHAT, json=body, headers=headers)
            assert answer.headers["access-control-allow-origin"] == origin
            assert answer.headers["vary"] == "Origin"
            assert answer.status_code == (404 if "model" in body else 200)


async def test_a_preflight_needs_no_key_and_what_follows_can_read_the_401(
    call: Serve, tmp_path: Path
) -> None:
    KeyStore(tmp_path / "keys.sqlite").create("laptop", now=0.0)
    async with call(data_dir=tmp_path) as served:
        assert (await served.client.options(CHAT, headers=preflight(LOCAL))).status_code == 200
        answer = await served.client.post(CHAT, json=HELLO, headers={"origin": LOCAL})
        assert answer.status_code == 401
        assert answer.headers["access-control-allow-origin"] == LOCAL
        asked = await served.client.request("OPTIONS", CHAT, headers={"origin": LOCAL})
        assert asked.status_code == 401, "no preflight"


async def test_a_page_of_the_internet_may_reach_into_the_private_network_if_it_is_named(
    call: Serve,
) -> None:
    private = {"access-control-request-private-network": "true"}
    async with call(**ALLOWED) as served:
        asked = preflight("https://chat.example", **private)
        answer = await served.client.options(CHAT, headers=asked)
        assert answer.headers["access-control-allow-private-network"] == "true"
        refused = await served.client.options(CHAT, headers=preflight(EVIL, **private))
        assert refused.status_code == 403
        for name in refused.headers:
            assert not name.startswith("access-control-"), name


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": EVIL},
        {"origin": "null"},
        {"origin": "http://localhost.evil.example"},
        {"origin": ""},
        {"origin": "http://[", "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
async def test_pages_of_other_sites_cannot_ask_a_model(
    call: Serve, headers: dict[str, str], kind: str
) -> None:
    backend = FakeBackend()
    async with call(backend) as served:
        answer = await served.client.post(
            CHAT, content=json.dumps(HELLO), headers={**headers, "content-type": kind}
        )
        assert answer.status_code == 403
        assert answer.json()["error"]["code"] == "cross_site"
        assert "access-control-allow-origin" not in answer.headers
        assert backend.requests == []


async def test_what_pages_of_other_sites_read_they_are_not_told(call: Serve) -> None:
    async with call() as served:
        answer = await served.client.get("/v1/models", headers={"origin": EVIL})
        assert "access-control-allow-origin" not in answer.headers


async def test_pages_send_json_and_programs_what_they_like(call: Serve) -> None:
    body = json.dumps(HELLO)
    form = {"content-type": "application/x-www-form-urlencoded"}
    async with call() as served:
        by_curl = await served.client.post(CHAT, content=body, headers=form)
        assert by_curl.status_code == 200
        for headers in (
            form | {"origin": LOCAL},
            {"content-type": "text/plain", "origin": LOCAL},
            {"content-type": "text/plain", "sec-fetch-site": "same-origin"},
            {"origin": LOCAL},
        ):
            answer = await served.client.post(CHAT, content=body, headers=headers)
            assert answer.status_code == 415
            assert answer.json()["error"]["code"] == "media_type_unsupported"
        right = {"content-type": "Application/JSON; charset=utf-8", "origin": LOCAL}
        assert (await served.client.post(CHAT, content=body, headers=right)).status_code == 200


async def test_administration_takes_json_and_no_page_that_is_not_named(
    call: Serve, tmp_path: Path
) -> None:
    body = '{"name": "boss"}'
    kind = {"content-type": "application/json"}
    async with call(data_dir=tmp_path, **ALLOWED) as served:
        for headers, status in (
            ({"content-type": "text/plain"}, 415),
            ({}, 415),
            (kind | {"origin": LOCAL}, 403),
            (kind | {"origin": EVIL}, 403),
            (kind | {"origin": "http://localhost", "content-type": "text/plain"}, 415),
        ):
            answer = await served.client.post("/v1//admin/keys", content=body, headers=headers)
            assert answer.status_code == status, headers
        assert not (tmp_path / "keys.sqlite").exists()
        asked = preflight(LOCAL)
        assert (await served.client.options("/admin/keys", headers=asked)).status_code == 403
        read = await served.client.get("/admin/keys", headers={"origin": LOCAL})
        assert "access-control-allow-origin" not in read.headers
        named = kind | {"origin": NAMED}
        made = await served.client.post("/admin/keys", content=body, headers=named)
        assert made.status_code == 200


async def test_programs_with_some_of_a_browsers_headers_are_no_browser(call: Serve) -> None:
    async with call() as served:
        node = {"sec-fetch-mode": "cors", "content-type": "application/json"}
        answer = await served.client.post(CHAT, content=json.dumps(HELLO), headers=node)
        assert answer.status_code == 200


async def test_who_sends_on_after_the_answer_is_not_waited_for(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "REST_SECONDS", 0.05)
    async with serve() as served, connected(served) as connection:
        await connection.send("POST /nothing HTTP/1.1\nhost: localhost\ncontent-length: 1000", b"{")
        assert b" 404 " in await connection.read_until(b"\r\n")
        assert await connection.ends()


async def test_who_sends_the_rest_after_the_answer_keeps_the_connection_for_a_while(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serve() as served, connected(served) as connection:
        await connection.send("POST /nothing HTTP/1.1\nhost: localhost\ncontent-length: 9", b"{")
        assert b" 404 " in await connection.read_until(b"\r\n")
        await connection.send_raw(b"x" * 8)
        await connection.send("GET /health/live HTTP/1.1\nhost: localhost")
        assert b" 200 " in await connection.read_until(b" 200 ")
        (one,) = served.server.server_state.connections - {
            other for other in served.server.server_state.connections if other.cycle is None
        }
        await until(lambda: one.timeout_keep_alive_task is not None)


@pytest.mark.parametrize("data", [b"\x16\x03\x01\x02\x00", b"HELLO\r\n\r\n", b"GET / X\r\n"])
async def test_what_is_no_http_gets_the_common_error(serve: Serve, data: bytes) -> None:
    async with serve() as served, connected(served) as connection:
        await connection.send_raw(data)
        head, _, body = (await connection.read_to_the_end()).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        document = json.loads(body)
        assert document["error"]["code"] == "invalid_request"
        assert "--tls-cert" in document["detail"]


async def test_tls_is_spoken_and_errors_of_connections_too(serve: Serve, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "one")
    trusted = ssl.create_default_context(cafile=str(certificate))
    async with (
        serve(tls_cert=certificate, tls_key=key, ready=False) as served,
        httpx2.AsyncClient(verify=trusted) as client,
    ):
        url = f"https://localhost:{served.port}"
        assert (await client.post(f"{url}{CHAT}", json=HELLO)).status_code == 200
        large = await client.get(f"{url}/", headers={"x": "y" * 1_000_000})
        assert large.status_code == 431
