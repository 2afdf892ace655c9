"""A home folder without models, so that no test depends on those of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from localserve.config import Settings, read_settings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "user"
    folder.mkdir()
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(folder))
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(
        {},
        {
            "LOCALSERVE_HOME": str(tmp_path / "home"),
            "HF_HOME": str(tmp_path / "hf"),
            "LLAMA_CACHE": str(tmp_path / "llama"),
            "OLLAMA_MODELS": str(tmp_path / "ollama"),
            "LOCALSERVE_LM_STUDIO_MODELS_DIR": str(tmp_path / "lm-studio"),
        },
    )


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How many seconds were waited between tries; none of them is spent."""
    seconds: list[float] = []
    monkeypatch.setattr("localserve.catalog.patience.sleep", seconds.append)
    return seconds
