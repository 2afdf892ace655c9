"""Several real models in one server, and the commands that look after them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from benchmarks.soak import soak
from tests.e2e.conftest import WAIT_SECONDS, Server, Start

pytestmark = pytest.mark.e2e

NAMES = ("one", "two", "three")


@pytest.fixture
def models(tiny_f16: Path, tmp_path: Path) -> Path:
    """A models.toml with three models of the same size."""
    lines = []
    for name in NAMES:
        path = tmp_path / f"{name}.gguf"
        shutil.copyfile(tiny_f16, path)
        lines.append(f'[models.{name}]\nfile = "{path}"\ncontext = 16384\nparallel = 2\n')
    config = tmp_path / "models.toml"
    config.write_text("".join(lines))
    return config


def held_bytes(server: Server) -> int:
    (ram,) = server.get("/admin/models").json()["memory"]
    return int(ram["held_bytes"])


def loaded(server: Server) -> set[str]:
    models = server.get("/admin/models").json()["models"]
    return {model["id"] for model in models if model["state"] == "loaded"}


def start_with_room_for_two(start: Start, models: Path) -> Server:
    """A server whose models may take what two of them take, and a bit."""
    measuring = start("one", "--config", str(models))
    assert measuring.url
    one_bytes = held_bytes(measuring)
    assert measuring.stop() == 0
    limit = {"LOCALSERVE_MODEL_RAM_BYTES": str(2 * one_bytes + one_bytes // 2)}
    server = start("one", "--config", str(models), environ=limit)
    assert server.url
    return server


def complete(server: Server, model: str, tokens: int = 4) -> str:
    body = {"model": model, "prompt": "once", "max_tokens": tokens}
    answer = server.post("/v1/completions", body)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["choices"][0]["text"])


def command(server: Server, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "localserve", *arguments],
        env={**os.environ, "LOCALSERVE_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )


def test_two_models_answer_and_a_third_evicts_the_idle_one_while_a_stream_goes_on(
    start: Start, models: Path
) -> None:
    server = start_with_room_for_two(start, models)
    body = {"model": "one", "prompt": "once", "max_tokens": 16_000, "ignore_eos": True}
    url = server.url + "/v1/completions"
    with httpx2.stream("POST", url, json={**body, "stream": True}, timeout=WAIT_SECONDS) as stream:
        events = stream.iter_lines()
        next(events)
        assert complete(server, "two")
        assert complete(server, "TWO")
        assert loaded(server) == {"one", "two"}
        assert complete(server, "three")
        assert loaded(server) == {"one", "three"}
        one = server.get("/admin/models").json()["models"][0]
        assert (one["id"], one["running"]) == ("one", 1)
        assert one["tokens_per_second"] > 0
        next(events)
    assert server.wait_for_line(r"two is unloaded to make room for three")
    assert server.wait_for_line(r"one: .* were predicted, [+-]\d\.\d%")


def test_prediction_and_measurement_agree_and_are_told(start: Start, models: Path) -> None:
    server = start("one", "--config", str(models))
    assert server.url
    (model,) = server.get("/admin/models").json()["models"]

    def total(usage: dict[str, Any]) -> int:
        return sum(
            sum(size for name, size in device.items() if name.endswith("_bytes"))
            for device in usage["devices"]
        )

    assert total(model["predicted"]) == pytest.approx(total(model["measured"]), rel=0.01)


def test_a_model_that_can_never_fit_is_refused_and_the_loaded_one_goes_on(
    start: Start, models: Path
) -> None:
    measuring = start("one", "--config", str(models))
    assert measuring.url
    limit = {"LOCALSERVE_MODEL_RAM_BYTES": str(held_bytes(measuring) * 5 // 4)}
    assert measuring.stop() == 0
    before, after = models.read_text().split("[models.two]")
    models.write_text(f"{before}[models.two]{after.replace('16384', '32768', 1)}")
    server = start("one", "--config", str(models), environ=limit)
    assert server.url
    refused = server.post("/v1/completions", {"model": "two", "prompt": "x"})
    assert refused.status_code == 400
    assert refused.json()["error"]["code"] == "model_too_large"
    assert "MiB" in refused.json()["error"]["message"]
    assert complete(server, "one")


def test_a_crash_brings_the_default_model_back_only_and_others_on_demand(
    start: Start, models: Path
) -> None:
    server = start("one", "--config", str(models))
    assert complete(server, "two")
    server.worker.kill()
    assert server.wait_for_line("was killed by SIGKILL")
    assert complete(server, "one")
    assert loaded(server) == {"one"}
    assert complete(server, "two")
    assert server.stop() == 0


def test_a_reload_of_models_toml_keeps_what_is_loaded(start: Start, models: Path) -> None:
    server = start("one", "--config", str(models))
    assert complete(server, "two")
    models.write_text(models.read_text().replace("[models.two]", '[models.two]\naliases = ["b"]'))
    os.kill(server.process.pid, signal.SIGHUP)
    server.wait_until(lambda: server.get("/v1/models/b").status_code == 200)
    assert complete(server, "b")
    assert loaded(server) == {"one", "two"}


def test_a_model_unloads_itself_after_its_keep_alive(start: Start, models: Path) -> None:
    models.write_text(models.read_text().replace("[models.two]", "[models.two]\nkeep_alive = 0.2"))
    server = start("one", "--config", str(models))
    assert complete(server, "two")
    assert server.wait_for_line(r"two is unloaded after 0.2 s without a request")
    assert loaded(server) == {"one"}


def test_the_commands_find_the_server_and_look_after_its_models(
    start: Start, models: Path, tmp_path: Path
) -> None:
    server = start("one", "--config", str(models))
    assert server.url

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return command(server, tmp_path, *arguments)

    found = json.loads(run("status", "--json").stdout)["servers"]
    assert [(one["url"], one["answers"]) for one in found] == [(server.url, True)]
    assert "two is loaded: 2048 tokens" in run("load", "two", "--ctx", "2048").stdout
    too_much = run("load", "two", "--ctx", "999424")
    assert (too_much.returncode, too_much.stdout) == (1, "")
    assert "999424" in too_much.stderr
    table = run("ps")
    assert (table.returncode, table.stderr) == (0, "")
    assert "two" in table.stdout
    assert "\x1b" not in table.stdout
    unloaded = run("unload", "two")
    assert (unloaded.returncode, unloaded.stdout) == (0, "two is not loaded\n")
    listed = json.loads(run("ps", "--json").stdout)["models"]
    assert {model["id"]: model["state"] for model in listed} == {"one": "loaded", "two": "unloaded"}
    unknown = run("load", "nothing")
    assert unknown.returncode == 1
    assert "nothing" in unknown.stderr
    assert "two is unloaded as asked" in run("logs").stdout
    stopped = run("stop")
    assert (stopped.returncode, server.wait()) == (0, 0)
    assert run("status").returncode == 1
    assert "No server is running" in run("ps").stderr
    assert run("stop").returncode == 1
    assert "ready" in run("logs").stdout


def test_two_servers_are_told_apart_by_their_ports(
    start: Start, models: Path, tmp_path: Path
) -> None:
    servers = [start(name, "--config", str(models)) for name in ("one", "two")]
    ports = [server.url.rpartition(":")[2] for server in servers]
    unclear = command(servers[0], tmp_path, "ps")
    assert unclear.returncode == 1
    assert "--port" in unclear.stderr
    told = command(servers[0], tmp_path, "ps", "--json", "--port", ports[1])
    assert json.loads(told.stdout)["default"] == "two"
    assert command(servers[0], tmp_path, "stop", "--port", ports[1]).returncode == 0
    assert servers[1].wait() == 0
    assert complete(servers[0], "one")


def test_random_switches_overrun_nothing_and_lose_no_request(start: Start, models: Path) -> None:
    server = start_with_room_for_two(start, models)
    (ram,) = server.get("/admin/models").json()["memory"]
    result = soak(server.url, list(NAMES), ram["capacity_bytes"], switches=15, clients=2)
    assert result.lost == []
    assert len(result.switches) == 15
    assert result.most_held_bytes <= ram["capacity_bytes"]
    assert all("error" not in line.lower() for line in server.lines), server.output
