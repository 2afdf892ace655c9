"""Commands run in this process, in a home without models."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from localserve import cli
from localserve.config import Settings, read_settings


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left behind."""

    status: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of all commands of the test."""
    places = {
        "HOME": "user",
        "USERPROFILE": "user",
        "LOCALSERVE_HOME": "home",
        "HF_HUB_CACHE": "hub",
        "LLAMA_CACHE": "llama",
        "OLLAMA_MODELS": "ollama",
        "LOCALSERVE_LM_STUDIO_MODELS_DIR": "lm-studio",
    }
    for variable, folder in places.items():
        monkeypatch.setenv(variable, str(tmp_path / folder))
    monkeypatch.delenv("LOCALSERVE_MODEL", raising=False)
    return read_settings()


@pytest.fixture
def run(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs `localserve ARGUMENTS...`."""

    def run_command(*arguments: str) -> Ran:
        monkeypatch.setattr(sys, "argv", ["localserve", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        status = ended.value.code
        return Ran(status if isinstance(status, int) else 0, out, err)

    return run_command
