"""Locust as a program, with our users, against the app over a fake backend."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.gateway_cost import Asked, server

LOCUSTFILE = Path(__file__).parents[2] / "benchmarks" / "locustfile.py"

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(find_spec("locust") is None, reason="locust is not installed"),
]


def locust(url: str, *options: str) -> tuple[int, dict[tuple[str, str], int], int]:
    """The exit status, requests by type and path, and how many failed."""
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--host", url, "--headless"]
    command += ["--users", "5", "--spawn-rate", "5", "--run-time", "3s", "--json", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    lines = json.loads(done.stdout)
    counts = {(one["method"], one["name"]): one["num_requests"] for one in lines}
    return done.returncode, counts, sum(one["num_failures"] for one in lines)


CHAT, EMBEDDINGS = "/v1/chat/completions", "/v1/embeddings"


def test_users_chat_complete_and_embed_and_the_first_token_has_its_own_line(tmp_path: Path) -> None:
    with server(False, Asked("locust", 1, 4, 1.0), tmp_path) as load:
        status, counts, failures = locust(load.url, "--embedding-model", "fake")
        assert (status, failures) == (0, 0)
        assert set(counts) == {
            ("POST", CHAT),
            ("TTFT", CHAT),
            ("POST", "/v1/completions"),
            ("POST", EMBEDDINGS),
        }
        assert counts["TTFT", CHAT] == counts["POST", CHAT] > 0


def test_nobody_embeds_without_a_model_and_refusals_are_failures(tmp_path: Path) -> None:
    with server(False, Asked("locust", 1, 4, 1.0), tmp_path) as load:
        status, counts, failures = locust(load.url, "--model", "nothing")
        assert status == 1
        assert set(counts) == {("POST", CHAT), ("POST", "/v1/completions")}
        assert failures == sum(counts.values()) > 0
