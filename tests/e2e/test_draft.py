"""A model that guesses for another one, named in models.toml; both are the built-in one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import localserve
from tests.e2e.conftest import Server, Start
from tests.gguf.small_models import SMALL_MODELS, write_small_model

pytestmark = pytest.mark.e2e

BUILTIN = Path(localserve.__file__).parent / "catalog" / "builtin.gguf"
QUESTION = "What is the capital of France?"


def with_entry(folder: Path, draft: Path) -> Path:
    path = folder / "models.toml"
    path.write_text(f"[models.big]\nfile = '{BUILTIN}'\ndraft = '{draft}'\n")
    return path


def ask(server: Server, model: str, **more: object) -> dict[str, Any]:
    body = {
        "model": model,
        "messages": [{"role": "user", "content": QUESTION}],
        "temperature": 0,
        "max_tokens": 48,
        **more,
    }
    answer = server.post("/v1/chat/completions", body)
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def ask_until_guessed(server: Server, model: str) -> dict[str, Any]:
    """The first answer that was guessed ahead: on a slow machine a trial waits for its time."""
    answers: list[dict[str, Any]] = []

    def guessed() -> bool:
        answers.append(ask(server, model))
        return "draft_n" in answers[-1]["timings"]

    server.wait_until(guessed)
    return answers[-1]


def test_a_draft_guesses_counts_and_changes_no_answer(start: Start, tmp_path: Path) -> None:
    server = start("big", "--config", str(with_entry(tmp_path, BUILTIN)))
    plain = ask(server, "localserve-tiny")
    ahead = ask_until_guessed(server, "big")
    assert ahead["choices"] == plain["choices"]
    timings = ahead["timings"]
    assert 0 < timings["draft_n_accepted"] <= timings["draft_n"]
    models = server.get("/admin/models").json()["models"]
    (big,) = (one for one in models if one["id"] == "big")
    assert big["draft"] == str(BUILTIN)
    assert big["draft_bytes"] > BUILTIN.stat().st_size / 2
    measured = big["measured"]
    assert [one["kind"] for one in measured["beside"]] == ["draft"]
    kinds = ("weights_bytes", "cache_bytes", "compute_bytes")
    alone = sum(device[kind] for device in measured["devices"] for kind in kinds)
    alone += measured["output_bytes"] + measured["checkpoint_bytes"]
    assert sum(big["memory_bytes"].values()) == alone + big["draft_bytes"]
    assert big["guessed_tokens"] >= timings["draft_n"]
    assert 'localserve_engine_guessed_tokens_total{model="big"}' in server.get("/metrics").text


def test_a_draft_with_other_words_keeps_the_server_from_starting_and_is_named(
    start: Start, tmp_path: Path
) -> None:
    other = write_small_model(tmp_path / "other.gguf", SMALL_MODELS["llama"])
    server = start("big", "--config", str(with_entry(tmp_path, other)))
    assert server.wait() == 1
    assert f"The draft of 'big': {other} (512 tokens) cannot guess" in server.output
    assert "vocabularies differ" in server.output
    assert "Or serve it without a draft." in server.output


def test_the_draft_of_the_default_model_can_be_named_on_the_command_line(start: Start) -> None:
    server = start("--draft", str(BUILTIN), "--ctx", "2048")
    ask_until_guessed(server, "localserve-tiny")
    (model,) = server.get("/admin/models").json()["models"]
    assert model["draft"] == str(BUILTIN)


def test_fit_counts_the_draft_of_an_entry(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "localserve", "fit", "big", "--json"]
    command += ["--config", str(with_entry(tmp_path, BUILTIN))]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout)["memory"]["draft_bytes"] > BUILTIN.stat().st_size / 2
