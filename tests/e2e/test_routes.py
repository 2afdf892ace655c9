"""Routes and models of other servers, with real servers on both ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import openai
import pytest

from benchmarks import servers
from localserve.catalog.registry import SHIPPED_FILE
from tests.e2e.conftest import WAIT_SECONDS, Server, Start

pytestmark = pytest.mark.e2e

TINY = "localserve-tiny"
ASKED = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}


def config(folder: Path, url: str, model: str = TINY) -> Path:
    """A models.toml with a model of the server at `url`, and a route to it and to one here."""
    path = folder / "models.toml"
    path.write_text(
        f"""
[models.far]
engine = "openai"
base_url = "{url}/v1"
model = "{model}"

[routes.auto.models]
far = {{}}
{TINY} = {{}}
"""
    )
    return path


def routed(server: Server) -> httpx2.Response:
    return server.post("/v1/chat/completions", ASKED | {"model": "auto"})


def test_a_route_goes_to_another_server_while_that_is_there(start: Start, tmp_path: Path) -> None:
    far = start()
    near = start("--config", str(config(tmp_path, far.url)))
    own = near.post("/v1/chat/completions", ASKED | {"model": TINY, "temperature": 0}).json()
    answer = routed(near)
    assert answer.headers["x-localserve-route"] == "auto -> far: order"
    assert answer.json()["model"] == "far"
    assert answer.json()["choices"][0]["message"] == own["choices"][0]["message"]
    assert answer.json()["usage"]["completion_tokens"] == own["usage"]["completion_tokens"]
    assert near.get("/admin/models").json()["memory"][0]["held_bytes"] > 0

    def health() -> dict[str, str]:
        checks = near.get("/health/details").json()["checks"]
        return {one["name"]: one["status"] for one in checks}

    near.wait_until(lambda: health()["remote far"] == "ok")
    assert near.wait_for_line(r"auto -> far: order")
    far.kill()
    answer = routed(near)
    assert answer.headers["x-localserve-route"] == f"auto -> far (failed) -> {TINY}: order"
    assert answer.json()["choices"][0]["message"] == own["choices"][0]["message"]
    assert routed(near).headers["x-localserve-route"] == f"auto -> {TINY}: order"


def test_a_model_of_another_server_can_be_the_default_one(start: Start, tmp_path: Path) -> None:
    far = start()
    near = start("far", "--config", str(config(tmp_path, far.url)))
    assert near.post("/v1/chat/completions", ASKED).json()["model"] == "far"
    (memory,) = near.get("/admin/models").json()["memory"]
    assert memory["held_bytes"] == 0
    assert near.get("/health/ready").json()["state"] == "ready"
    environ = {**os.environ, "LOCALSERVE_HOME": str(tmp_path)}
    for command in ("ps", "status"):
        found = subprocess.run(
            [sys.executable, "-m", "localserve", command, "--port", near.url.rpartition(":")[2]],
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert found.returncode == 0, found.stderr
        assert "far" in found.stdout
    assert near.stop() == 0


def test_a_server_that_is_killed_in_mid_stream_ends_the_stream_with_an_error(
    start: Start, tmp_path: Path
) -> None:
    far = start()
    near = start("--config", str(config(tmp_path, far.url)))
    stream = near.client().chat.completions.create(
        model="far",
        messages=[{"role": "user", "content": "Write a poem."}],
        max_tokens=100_000,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    with pytest.raises(openai.APIError, match=r"broke the connection off"):  # noqa: PT012
        for number, _ in enumerate(stream):
            if number == 3:
                far.kill()
    assert near.get("/health/live").status_code == 200


def test_a_reload_takes_over_routes_and_a_mistake_keeps_the_old_ones(
    start: Start, tmp_path: Path
) -> None:
    path = tmp_path / "models.toml"
    path.write_text("[routes.one.models]\nlocalserve-tiny = {}\n")
    server = start("--config", str(path))
    explained = server.get("/admin/routes/explain?route=one&prompt=Hello").json()
    assert explained["order"] == [{"model": TINY, "why": "order", "against": []}]
    path.write_text("[routes.one]\nby = 'size'\nmodels = { localserve-tiny = {} }\n")
    refused = server.post("/admin/reload", {})
    assert refused.status_code == 400
    assert "line 2" in refused.json()["detail"]
    assert server.get("/v1/models/one").status_code == 200
    path.write_text("[routes.two.models]\nlocalserve-tiny = {}\n")
    os.kill(server.process.pid, signal.SIGHUP)
    server.wait_until(lambda: server.get("/v1/models/two").status_code == 200)
    assert server.get("/v1/models/one").status_code == 404


def test_a_wrong_route_is_told_before_anything_is_served(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "models.toml"
    path.write_text("[routes.auto.models]\na = { upto = 1 }\n")
    server = start("--config", str(path))
    assert server.wait() != 0
    assert "models.toml line 2" in server.output
    assert "Did you mean 'up_to'?" in server.output


def test_xllamacpp_serves_as_an_engine(start: Start, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="the group bench is not installed")
    settings = servers.Settings(SHIPPED_FILE.with_name("builtin.gguf"), 2048, 2, 1)
    with servers.xllamacpp(settings, sys.executable, tmp_path) as peer:
        near = start("--config", str(config(tmp_path, peer.url, peer.model)))
        client = near.client()
        whole = client.chat.completions.create(
            model="far",
            messages=[{"role": "user", "content": "Hello"}],
            temperature=0,
            max_tokens=12,
        )
        assert whole.usage is not None
        assert 0 < whole.usage.completion_tokens <= 12
        stream = client.chat.completions.create(
            model="far",
            messages=[{"role": "user", "content": "Hello"}],
            temperature=0,
            max_tokens=12,
            stream=True,
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream)
        assert text == whole.choices[0].message.content
        text = client.completions.create(model="far", prompt="Hello", max_tokens=4).choices[0].text
        assert text
        too_long = near.post(
            "/v1/chat/completions",
            {"model": "far", "messages": [{"role": "user", "content": "word " * 5000}]},
        )
        assert too_long.json()["error"]["code"] == "context_length_exceeded"
        listed = httpx2.get(f"{near.url}/v1/models/far", timeout=WAIT_SECONDS).json()
        assert listed["max_model_len"] > 0
