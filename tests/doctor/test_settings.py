"""Settings that are wrong in part."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from localserve.doctor.settings import read_what_can_be


def test_each_wrong_variable_is_told_and_the_others_still_count(tmp_path: Path) -> None:
    environ = {
        "LOCALSERVE_HOME": str(tmp_path),
        "LOCALSERVE_PORT": "many",
        "LOCALSERVE_PARALLEL": "0",
        "LOCALSERVE_HOST": "127.0.0.2",
    }
    settings, found = read_what_can_be(None, environ)
    assert [one.level for one in found] == ["problem", "problem"]
    assert {name for name in environ for one in found if name in one.message} == {
        "LOCALSERVE_PORT",
        "LOCALSERVE_PARALLEL",
    }
    assert (settings.host, settings.port, settings.home) == ("127.0.0.2", 8080, tmp_path)


@pytest.mark.parametrize("text", ["[settings]\nport = 'x'\n", "= nonsense", "\0"])
def test_a_file_that_cannot_be_read_is_told_and_left_out(tmp_path: Path, text: str) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "models.toml").write_text(text)
    settings, found = read_what_can_be(None, {"LOCALSERVE_HOME": str(tmp_path)})
    assert [one.level for one in found] == ["problem"]
    assert (settings.config_file, settings.data_dir) == (None, tmp_path / "data")


def test_a_broken_file_in_a_folder_of_its_own_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "models.toml").write_text("= nonsense")
    environ = {"LOCALSERVE_HOME": str(tmp_path / "home"), "LOCALSERVE_CONFIG_DIR": str(tmp_path)}
    settings, found = read_what_can_be(None, environ)
    assert [str(tmp_path / "models.toml") in one.message for one in found] == [True]
    assert (settings.config_file, settings.home) == (None, tmp_path / "home")


def test_a_file_that_is_named_and_missing_is_told(tmp_path: Path) -> None:
    environ = {"LOCALSERVE_HOME": str(tmp_path), "LOCALSERVE_CONFIG_FILE": str(tmp_path / "none")}
    for config, variables in ((tmp_path / "none", {}), (None, environ)):
        settings, found = read_what_can_be(config, {"LOCALSERVE_HOME": str(tmp_path), **variables})
        assert [one.level for one in found] == ["problem"]
        assert settings.config_file is None


def test_a_folder_that_may_not_be_looked_into_is_told(tmp_path: Path) -> None:
    environ = {"LOCALSERVE_HOME": str(tmp_path), "LOCALSERVE_CONFIG_DIR": "/" + "x" * 1000}
    settings, found = read_what_can_be(None, environ)
    assert [one.level for one in found] == ["problem"]
    assert settings.home == tmp_path


def test_nothing_that_may_be_broken_is_imported_before_the_checks() -> None:
    packages = (
        "('numpy', 'jinja2', 'huggingface_hub', 'httpx2', 'filelock', 'tomlkit', 'packaging')"
    )
    program = (
        f"import sys, localserve.cli.doctor; sys.exit(any(n in sys.modules for n in {packages}))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
