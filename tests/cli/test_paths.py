"""`localserve paths`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localserve.config import SETTINGS, Settings
from tests.cli.conftest import Run


def test_every_folder_is_listed_with_who_said_so(run: Run, settings: Settings) -> None:
    settings.models_dir.mkdir(parents=True)
    rows = {row["what"]: row for row in json.loads(run("paths", "--json").out)}
    others = {"home", "tls_cert", "tls_key"}  # these hold nothing of ours
    folders = {s.name for s in SETTINGS if s.type is Path and s.name not in others}
    assert rows.keys() == folders
    assert rows["models_dir"] == {
        "what": "models_dir",
        "holds": "downloaded models",
        "path": str(settings.models_dir),
        "exists": True,
        "said_by": "LOCALSERVE_HOME",
    }
    assert rows["ollama_models_dir"]["said_by"] == "OLLAMA_MODELS"
    assert rows["config_file"]["path"] is None
    assert rows["cache_dir"]["exists"] is False


def test_the_line_of_the_file_that_sets_a_folder_is_told(run: Run, settings: Settings) -> None:
    settings.config_dir.mkdir(parents=True)
    (settings.config_dir / "models.toml").write_text('[settings]\ncache_dir = "/c"\n')
    rows = {row["what"]: row for row in json.loads(run("paths", "--json").out)}
    assert (rows["cache_dir"]["path"], rows["cache_dir"]["said_by"]) == ("/c", "models.toml line 2")
    assert rows["config_file"]["exists"]


def test_for_people_it_is_a_table_with_short_paths(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOCALSERVE_LM_STUDIO_MODELS_DIR")
    out = run("paths").out
    assert "~/.lmstudio/models" in out
    assert "~/.cache/lm-studio/models" in out
    assert len(out.splitlines()) == 12


def test_a_wrong_configuration_is_an_error(run: Run, settings: Settings) -> None:
    settings.config_dir.mkdir(parents=True)
    (settings.config_dir / "models.toml").write_text("[settings]\nport = 'x'\n")
    ran = run("paths")
    assert ran.status == 1
    assert "line 2" in ran.err
