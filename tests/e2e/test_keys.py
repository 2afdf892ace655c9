"""Keys on a real server: made while it runs, by its owner's commands, for the official client."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from pathlib import Path

import httpx2
import openai
import psutil
import pytest

from tests.certificates import make_certificate
from tests.e2e.conftest import WAIT_SECONDS, Start

pytestmark = pytest.mark.e2e


def localserve(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "localserve", *arguments],
        env={**os.environ, "LOCALSERVE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


def test_a_key_made_while_the_server_runs_is_needed_and_enough(
    start: Start, tmp_path: Path
) -> None:
    server = start()
    assert server.get("/v1/models").status_code == 200
    key = localserve(tmp_path, "keys", "create", "laptop").stdout.strip()
    server.wait_until(lambda: server.get("/v1/models").status_code == 401)
    messages = [{"role": "user", "content": "Hello"}]
    url = f"{server.url}/v1"
    with openai.OpenAI(base_url=url, api_key=key, max_retries=0) as client:
        answer = client.chat.completions.create(
            model="localserve-tiny",
            messages=messages,  # type: ignore[arg-type]
            max_tokens=4,
        )
        assert answer.usage is not None
        with pytest.raises(openai.PermissionDeniedError):
            client.get("/admin/models", cast_to=object)
    with (
        openai.OpenAI(base_url=url, api_key="wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.models.list()
    # The owner's own commands go on working, and tell nobody how.
    listed = localserve(tmp_path, "ps", "--json")
    assert json.loads(listed.stdout)["models"][0]["state"] == "loaded"
    (announced,) = (tmp_path / "data" / "servers").glob("*.json")
    owner_key = json.loads(announced.read_text())["owner_key"]
    assert announced.stat().st_mode & 0o077 == 0
    localserve(tmp_path, "keys", "revoke", "laptop")
    server.wait_until(lambda: server.get("/v1/models").status_code == 200)
    assert server.stop() == 0
    assert "key laptop" in server.output
    assert key not in server.output
    assert owner_key not in server.output + listed.stdout


def test_a_key_of_the_environment_opens_a_container_and_stays_with_the_worker(
    start: Start,
) -> None:
    key = "of-this-container-alone"
    server = start("--host", "0.0.0.0", environ={"LOCALSERVE_API_KEY": key})
    assert server.get("/v1/models").status_code == 401
    headers = {"x-api-key": key}
    admin = httpx2.get(f"{server.url}/admin/models", headers=headers, timeout=WAIT_SECONDS)
    assert admin.status_code == 200
    assert key not in psutil.Process(server.worker.pid).environ().values()
    assert server.stop() == 0
    assert key not in server.output


def test_https_is_served_and_the_owners_commands_find_it(start: Start, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "one")
    server = start("--tls-cert", str(certificate), "--tls-key", str(key))
    assert server.url.startswith("https://127.0.0.1:")
    trusted = ssl.create_default_context(cafile=str(certificate))
    with httpx2.Client(verify=trusted, timeout=WAIT_SECONDS) as client:
        assert client.get(f"{server.url}/v1/models").status_code == 200
    listed = localserve(tmp_path, "ps", "--json")
    assert json.loads(listed.stdout)["url"] == server.url
    assert server.stop() == 0
