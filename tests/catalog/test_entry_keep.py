"""How long a model stays, as models.toml says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from localserve.catalog.registry import read_registry
from localserve.catalog.spec import ModelSpec
from localserve.errors import ConfigInvalid


def entry(tmp_path: Path, line: str) -> ModelSpec:
    file = tmp_path / "models.toml"
    file.write_text(f'[models.mine]\nrepo = "a/b"\n{line}\n')
    (spec,) = read_registry(file).specs
    return spec


def test_a_model_stays_until_its_memory_is_needed_unless_it_says_otherwise(tmp_path: Path) -> None:
    assert entry(tmp_path, "").keep_alive_seconds is None
    assert entry(tmp_path, "keep_alive = 0").keep_alive_seconds == 0
    assert entry(tmp_path, "keep_alive = 600").keep_alive_seconds == 600
    assert entry(tmp_path, "").pin is False
    assert entry(tmp_path, "pin = true").pin is True


@pytest.mark.parametrize("line", ["keep_alive = -1", 'keep_alive = "5m"', "pin = 1"])
def test_what_is_no_time_and_no_switch_is_refused_with_its_line(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigInvalid, match="line 3"):
        entry(tmp_path, line)
