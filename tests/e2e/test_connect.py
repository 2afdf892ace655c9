"""`localserve connect` against a real server: what it says of the server is true."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from localserve.connect.clients import CLIENTS
from tests.e2e.conftest import WAIT_SECONDS, Server, Start

pytestmark = pytest.mark.e2e


def connect(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "localserve", "connect", *arguments],
        env={**os.environ, "LOCALSERVE_HOME": str(home), "HOME": str(home / "user")},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


def test_the_server_answers_every_route_that_some_client_asks(server: Server) -> None:
    routes = sorted({route for client in CLIENTS for route in client.routes})
    assert [route for route in routes if server.get(route).status_code == 404] == []


def test_the_address_and_the_context_are_those_of_the_server(start: Start, tmp_path: Path) -> None:
    server = start("--ctx", "4096")
    url = server.url
    shown = connect(tmp_path, "opencode", "--json")
    assert shown.returncode == 0, shown.stderr
    document = json.loads(shown.stdout)
    (model,) = document["models"]
    listed = {one["id"]: one for one in server.get("/v1/models").json()["data"]}
    assert document["url"] == url
    assert model["context_tokens"] == listed[model["id"]]["meta"]["n_ctx"] == 4096
    assert any("4096 tokens of context" in warning for warning in document["warnings"])


def test_a_server_with_keys_wants_one_for_the_client(start: Start, tmp_path: Path) -> None:
    assert start(environ={"LOCALSERVE_API_KEY": "ls-a-key-for-containers"}).url
    refused = connect(tmp_path, "opencode")
    assert refused.returncode == 1
    assert "localserve keys create" in refused.stderr
    shown = connect(tmp_path, "opencode", "--api-key", "ls-mine")
    assert json.loads(shown.stdout)["provider"]["localserve"]["options"]["apiKey"] == "ls-mine"
