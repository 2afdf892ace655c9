"""The images: what is copied into them is there, and they run as nobody, with a key, watched."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from localserve.config import read_settings
from localserve.errors import ConfigInvalid
from localserve.gateway.exposure import check_exposure
from tests.release.conftest import ROOT

DOCKERFILES = ("Dockerfile", "Dockerfile.cuda")
Instruction = tuple[str, str]


def instructions(name: str) -> list[Instruction]:
    """The instructions of a Dockerfile with their arguments, continued lines joined."""
    lines = [line for line in (ROOT / name).read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    pairs = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [(word, arguments) for word, arguments in pairs]


def last_stage(name: str) -> list[Instruction]:
    steps = instructions(name)
    return steps[max(index for index, (word, _) in enumerate(steps) if word == "FROM") + 1 :]


def environment(name: str) -> dict[str, str]:
    """What the last stage's ENV sets."""
    words = [shlex.split(arguments) for word, arguments in last_stage(name) if word == "ENV"]
    return dict(pair.split("=", 1) for pairs in words for pair in pairs)


def health_command(name: str) -> list[str]:
    checks = [arguments for word, arguments in last_stage(name) if word == "HEALTHCHECK"]
    command: list[str] = json.loads(checks[0].partition("CMD ")[2])
    return command


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_is_there_and_reaches_the_builder(name: str) -> None:
    let_through = {
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line[:1] == "!"
    }
    copied: set[str] = set()
    for word, arguments in instructions(name):
        if word == "COPY" and not arguments.startswith("--from"):
            copied |= set(arguments.split()[:-1])
    assert copied == let_through
    assert [path for path in copied if not (ROOT / path).exists()] == []


def test_both_images_run_in_the_same_way() -> None:
    """They differ in what they are built from and in what is installed."""

    def running(name: str) -> list[Instruction]:
        return [step for step in last_stage(name) if step[0] not in ("RUN", "ARG")]

    assert running("Dockerfile") == running("Dockerfile.cuda")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_server_is_no_root_and_writes_into_the_volume_alone(name: str) -> None:
    users = [arguments for word, arguments in last_stage(name) if word == "USER"]
    assert users == ["10001:10001"]
    volumes = [json.loads(arguments) for word, arguments in last_stage(name) if word == "VOLUME"]
    assert volumes == [[environment(name)["LOCALSERVE_HOME"]]]


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_serves_nobody_without_a_key(name: str, tmp_path: Path) -> None:
    environ = environment(name) | {"LOCALSERVE_HOME": str(tmp_path)}
    with pytest.raises(ConfigInvalid, match="there is no API key yet"):
        check_exposure(read_settings({}, environ))
    check_exposure(read_settings({}, environ | {"LOCALSERVE_API_KEY": "0123456789abcdef"}))


@contextmanager
def answering(status: int) -> Iterator[int]:
    """The port of a server that answers /health/ready with `status`, all else with 404."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("name", DOCKERFILES)
@pytest.mark.parametrize(("status", "healthy"), [(200, True), (503, False)])
def test_a_container_is_healthy_while_the_model_answers(
    name: str, status: int, healthy: bool
) -> None:
    program, *arguments = health_command(name)
    assert program == "python"
    with answering(status) as port:
        done = subprocess.run(
            [sys.executable, *arguments],
            env={"LOCALSERVE_PORT": str(port)},
            capture_output=True,
            timeout=60,
        )
    assert (done.returncode == 0) is healthy, done.stderr


def test_the_images_use_the_uv_that_the_lock_has() -> None:
    """One that is older might not be able to read it."""
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    locked = next(package["version"] for package in packages if package["name"] == "uv")
    for name in DOCKERFILES:
        assert ("ARG", f"UV_VERSION={locked}") in instructions(name)
