"""`localserve up` on a terminal and an empty disk: the offer, and what becomes of the answer."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from localserve.catalog.registry import SHIPPED_FILE
from tests.catalog.hub_server import Hub, serve_hub
from tests.e2e.conftest import WAIT_SECONDS
from tests.e2e.terminal import Terminal

pytestmark = pytest.mark.e2e

CONTENT = SHIPPED_FILE.with_name("builtin.gguf").read_bytes()
REPO = "owner/little-GGUF"
NAME = "little-Q8_0.gguf"
CATALOG = f"""
[models.little]
repo = "{REPO}"
pattern = "little-{{quantization}}.gguf"
kind = "chat"
quantizations = {{ Q8_0 = {len(CONTENT)} }}
shape = {{ parameters = 4330528, layers = 5, embedding_length = 256, heads = 4, kv_heads = 4, \
head_size = 64, vocabulary = 4105, trained_context = 32768 }}
"""
TOO_LITTLE_FOR_OTHERS = str(250 << 20)


class Window(Terminal):
    """A server on a terminal of its own."""

    def __init__(self, home: Path, hub: Hub, *arguments: str) -> None:
        environment = {
            **os.environ,
            "HOME": str(home),
            "LOCALSERVE_HOME": str(home / "home"),
            "LOCALSERVE_MODEL": "",
            "LOCALSERVE_MODEL_RAM_BYTES": TOO_LITTLE_FOR_OTHERS,
            "HF_HOME": str(home / "hf"),
            "HF_HUB_CACHE": str(home / "hf" / "hub"),
            "LLAMA_CACHE": str(home / "llama"),
            "OLLAMA_MODELS": str(home / "ollama"),
            "LOCALSERVE_LM_STUDIO_MODELS_DIR": str(home / "lm-studio"),
            "HF_ENDPOINT": hub.url,
            "TERM": "xterm",
            "COLUMNS": "400",
        }
        command = [sys.executable, "-m", "localserve", "up", "--port", "0", *arguments]
        super().__init__(command, environment)

    def answering_model(self) -> str:
        """Which model answers a request that names none."""
        url = self.wait_for(r"ready +(http://[^\s]+)").group(1)
        body = {"prompt": "once", "max_tokens": 1}
        answer: dict[str, Any] = httpx2.post(
            f"{url}/v1/completions", json=body, timeout=WAIT_SECONDS
        ).json()
        return str(answer["model"])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.wait()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as hub:
        hub.repositories[REPO] = {NAME: CONTENT}
        yield hub


@pytest.fixture
def open_window(tmp_path: Path, hub: Hub) -> Iterator[Callable[..., Window]]:
    config = tmp_path / "models.toml"
    config.write_text(CATALOG)
    windows: list[Window] = []

    def start(*arguments: str) -> Window:
        windows.append(Window(tmp_path, hub, "--config", str(config), *arguments))
        return windows[-1]

    yield start
    hub.released.set()
    for window in windows:
        window.kill()


Open = Callable[..., Window]


def test_a_model_that_was_agreed_to_comes_while_the_built_in_one_answers_and_is_served_then(
    open_window: Open, hub: Hub
) -> None:
    hub.hold_after_bytes = [len(CONTENT), 1_500_000]  # the header comes whole
    window = open_window()
    offer = window.wait_for(r"little \(Q8_0\), a download of (.*), fits this machine: (.*)\[y/N\]")
    assert "MB" in offer.group(1)
    assert "MiB of" in offer.group(2)
    assert "tokens per second" in offer.group(2)
    assert hub.requests == []
    assert window.answering_model() == "localserve-tiny"
    window.type("y\n")
    window.wait_for(r"little: .* of 4\.7 MB")
    assert window.answering_model() == "localserve-tiny"
    hub.released.set()
    window.wait_for(r"little answers requests that name no model from now on")
    assert window.answering_model() == "little"
    assert window.stop() == 0


def test_an_end_in_the_middle_keeps_what_has_come_and_says_how_to_go_on(
    open_window: Open, hub: Hub, tmp_path: Path
) -> None:
    hub.hold_after_bytes = [len(CONTENT), 1_500_000]
    window = open_window()
    window.wait_for(r"\[y/N\]")
    window.type("yes\n")
    window.wait_for(r"little: .* of 4\.7 MB")
    assert window.stop() == 0
    assert "It goes on with: localserve pull little:Q8_0" in window.text
    folder = tmp_path / "home" / "data" / "models" / REPO
    assert [path.suffix for path in folder.glob("little*")] == [".partial"]


def test_the_end_waits_for_no_answer(open_window: Open) -> None:
    window = open_window()
    window.wait_for(r"\[y/N\]")
    assert window.stop() == 0
