"""What a real server tells of itself: logs that programs read, figures, health."""

from __future__ import annotations

import gzip
import json
import os
import signal
import socket
from pathlib import Path
from typing import Any

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.conftest import WAIT_SECONDS, Server, Start

pytestmark = pytest.mark.e2e

JSON_LOG = {"LOCALSERVE_LOG_FORMAT": "json"}
ASK = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}


class JsonServer:
    """A server whose output is for programs."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.url = server.wait_for_line(r'"event":"live","url":"([^"]+)"').group(1)
        server.wait_for_line('"event":"model_loaded"')

    def post(self, body: object, **headers: str) -> httpx2.Response:
        url = f"{self.url}/v1/chat/completions"
        return httpx2.post(url, json=body, headers=headers, timeout=WAIT_SECONDS)

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(self.url + path, timeout=WAIT_SECONDS)

    def documents(self) -> list[dict[str, Any]]:
        """The lines of its output; those for people come before all of them."""
        lines = self.server.lines
        first = next(number for number, line in enumerate(lines) if line.startswith("{"))
        return [json.loads(line) for line in lines[first:]]


def samples(text: str) -> dict[tuple[str, str], float]:
    """By name and model (or device)."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            label = sample.labels.get("model") or sample.labels.get("device") or ""
            if "le" not in sample.labels:
                found[sample.name.removeprefix("localserve_"), label] = sample.value
    return found


def test_each_line_of_the_log_is_json_and_a_request_has_all_that_is_known_of_it(
    start: Start, tmp_path: Path
) -> None:
    served = JsonServer(start(environ=JSON_LOG))
    body = ASK | {"max_tokens": 4, "stream": True}
    assert served.post(body, **{"x-request-id": "mine"}).status_code == 200
    assert served.post(ASK | {"model": "none"}).status_code == 404
    assert served.get("/health/ready").status_code == 200
    served.server.wait_for_line('"error":"model_not_found"')
    assert served.server.stop() == 0
    documents = served.documents()
    events = [one["event"] for one in documents]
    assert events[0] == "live"
    assert set(events) == {"live", "log", "model_loaded", "request", "stopping"}
    requests = [one for one in documents if one["event"] == "request"]
    answered, refused = requests
    assert answered["request_id"] == "mine"
    assert answered["route"] == "/chat/completions"
    assert answered["model"] == "localserve-tiny"
    assert answered["prompt_tokens"] > 5
    assert answered["completion_tokens"] == 4
    assert answered["finish_reasons"] == ["length"]
    for name in ("lease_ms", "queue_ms", "prompt_ms", "first_token_ms", "decode_ms", "total_ms"):
        assert 0 <= answered[name] <= answered["total_ms"]
    assert (refused["status"], refused["error"]) == (404, "model_not_found")
    assert "France" not in served.server.output
    (path,) = (tmp_path / "data" / "logs").glob("server-*.log")
    in_file = [json.loads(line) for line in path.read_text().splitlines()]
    assert [one for one in in_file if one["event"] == "request"] == requests


def test_texts_are_logged_on_demand_and_never_with_secrets(start: Start) -> None:
    served = JsonServer(start(environ={**JSON_LOG, "LOCALSERVE_LOG_BODIES": "1"}))
    secrets = ("sk-" + "a1B2c3D4" * 4, "bob@example.org", "4111 1111 1111 1111", "+49 171 1234567")
    question = "Repeat: " + " and ".join(secrets)
    body = {"messages": [{"role": "user", "content": question}], "max_tokens": 8}
    assert served.post(body).status_code == 200
    served.server.wait_for_line('"request_body"')
    assert served.server.stop() == 0
    (request,) = (one for one in served.documents() if one["event"] == "request")
    markers = "[SECRET] and [EMAIL] and [CARD] and [PHONE]"
    assert f"Repeat: {markers}" in request["request_body"]
    for secret in secrets:
        assert secret not in served.server.output


def test_a_log_is_put_aside_compressed_while_the_server_runs(start: Start, tmp_path: Path) -> None:
    served = JsonServer(start(environ={**JSON_LOG, "LOCALSERVE_LOG_FILE_BYTES": "65536"}))
    folder = tmp_path / "data" / "logs"
    with httpx2.Client(base_url=served.url, timeout=WAIT_SECONDS) as client:
        for number in range(250):
            path = f"/nothing/{number}/{'x' * 100}"
            assert client.get(path).status_code == 404
    served.server.wait_until(lambda: any(folder.glob("*.gz")))
    assert served.server.stop() == 0
    text = (next(folder.glob("server-*.log"))).read_text()
    for path in folder.glob("*.gz"):
        with gzip.open(path, "rt") as stream:
            text += stream.read()
    found = [json.loads(line) for line in text.splitlines()]
    numbers = {one["path"].split("/")[2] for one in found if one["event"] == "request"}
    assert numbers == {str(number) for number in range(250)}


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("log_format", ["human", "json"])
def test_a_full_disk_under_the_log_stops_nothing(
    start: Start, tmp_path: Path, log_format: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    logs = tmp_path / "data" / "logs"
    logs.mkdir(parents=True)
    (logs / f"server-{port}.log").symlink_to("/dev/full")
    server = start("--port", str(port), environ={"LOCALSERVE_LOG_FORMAT": log_format})
    url = f"http://127.0.0.1:{port}"
    server.wait_for_line("ready|model_loaded")
    for _ in range(5):
        answer = httpx2.post(
            f"{url}/v1/chat/completions", json=ASK | {"max_tokens": 2}, timeout=WAIT_SECONDS
        )
        assert answer.status_code == 200
    assert server.stop() == 0
    assert server.output.count("/v1/chat/completions") >= 5


def test_figures_are_those_of_the_engine(start: Start) -> None:
    server = start()
    question = "Count the words of this sentence, and of the next one. " * 8
    messages = [{"role": "user", "content": question}]
    for _ in range(2):
        body = {"messages": messages, "max_tokens": 8, "stream": True, "ignore_eos": True}
        assert server.post("/v1/chat/completions", body).status_code == 200
    server.wait_until(lambda: server.engine()["running"] == 0)
    response = server.get("/metrics")
    assert response.status_code == 200
    found = samples(response.text)
    name = "localserve-tiny"
    assert found["completion_tokens_total", name] == 16
    assert found["prompt_tokens_total", name] > 10
    assert 0 < found["cached_prompt_tokens_total", name] < found["prompt_tokens_total", name]
    assert found["time_to_first_token_seconds_count", name] == 2
    assert 1 <= found["inter_token_seconds_count", name] <= 16
    assert found["queue_seconds_count", name] == 2
    assert found["load_seconds_count", name] == 1
    assert found["engine_steps_total", name] >= 2
    assert found["engine_cells", name] > found["engine_cells_used", name] > 0
    assert found["engine_cells_kept", name] == found["engine_cells_used", name]
    held = found["device_memory_held_bytes", "CPU"]
    assert 0 < held <= found["device_memory_capacity_bytes", "CPU"]
    assert found["process_resident_memory_bytes", ""] > 0
    details = server.get("/health/details").json()
    names = [check["name"] for check in details["checks"]]
    assert names == ["model", f"engine {name}", "memory", "disk", "keys"]
    assert details["checks"][1]["steps"] == found["engine_steps_total", name]


def test_a_model_that_is_unloaded_has_no_engine_to_check(start: Start) -> None:
    server = start()
    assert server.get("/health/details").json()["checks"][0]["state"] == "loaded"
    assert server.post("/admin/models/localserve-tiny/unload", {}).status_code == 200
    body = server.get("/health/details").json()
    assert body["checks"][0]["state"] == "unloaded"
    assert "engine localserve-tiny" not in {check["name"] for check in body["checks"]}
    assert server.stop(signal.SIGTERM) == 0
