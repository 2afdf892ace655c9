"""What `localserve up` serves, and what it says of it."""

from __future__ import annotations

import dataclasses
from functools import partial

import pytest

from localserve.catalog.registry import load_registry
from localserve.catalog.spec import LocalFile
from localserve.cli import choose
from localserve.cli.choose import choose_model
from localserve.config import Settings, read_settings
from localserve.errors import NotDownloaded, UnknownModel
from localserve.planner.default import choose_default
from tests.catalog.gguf_files import write_gguf
from tests.gguf.small_models import SMALL_MODELS, write_small_model
from tests.planner.machines import machine


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No driver is asked."""
    on_a_machine = partial(choose_default, find_machine=lambda settings: machine())
    monkeypatch.setattr(choose, "choose_default", on_a_machine)


def test_a_named_model_has_no_other_behind_it(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, fallback = choose_model("tiny", load_registry(settings), settings)
    assert (spec.name, fallback) == ("localserve-tiny", None)
    assert capsys.readouterr().out == ""


def test_the_setting_counts_as_named_and_is_said(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOCALSERVE_MODEL", "builtin")
    write_gguf(settings.models_dir / "other.gguf")
    settings = read_settings()
    spec, fallback = choose_model(None, load_registry(settings), settings)
    assert (spec.name, fallback) == ("localserve-tiny", None)
    assert "serving builtin, as LOCALSERVE_MODEL says" in capsys.readouterr().out
    with pytest.raises(UnknownModel):
        choose_model("nobody", load_registry(settings), settings)


def test_without_any_model_it_is_the_built_in_one_and_larger_ones_are_named(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    spec, fallback = choose_model(None, load_registry(settings), settings)
    assert (spec.name, fallback) == ("localserve-tiny", None)
    out = capsys.readouterr().out
    assert "serving localserve-tiny, the built-in model: there is no other" in out
    assert "localserve list --all" in out


def test_a_model_on_this_disk_is_taken_with_the_built_in_one_behind_it(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert settings.lm_studio_models_dir is not None
    folder = settings.lm_studio_models_dir / "o" / "r"
    folder.mkdir(parents=True)
    path = write_small_model(folder / "good.gguf", SMALL_MODELS["llama"])
    (folder / "bad.gguf").write_bytes(b"")
    spec, fallback = choose_model(None, load_registry(settings), settings)
    assert (spec.name, spec.source) == ("good", LocalFile(path))
    assert fallback is not None
    assert fallback.name == "localserve-tiny"
    said = capsys.readouterr()
    assert "serving good" in said.out
    assert "from LM Studio" in said.out
    assert "LOCALSERVE_MODEL=NAME" in said.out
    assert "lm-studio/bad is not taken: it is empty" in said.err


def test_of_many_that_are_not_taken_only_the_first_are_named(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(8):
        write_gguf(settings.models_dir / f"m{number}.gguf")
    spec, _ = choose_model(None, load_registry(settings), settings)
    assert spec.name == "localserve-tiny"
    said = capsys.readouterr().err
    assert said.count("is not taken") == 5
    assert "3 more are skipped" in said


def test_links_to_nothing_are_named(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    settings.models_dir.mkdir(parents=True)
    (settings.models_dir / "gone.gguf").symlink_to("nowhere")
    choose_model(None, load_registry(settings), settings)
    assert "gone.gguf is a link to nothing; it is skipped." in capsys.readouterr().err


def test_offline_a_model_that_must_be_downloaded_is_refused(settings: Settings) -> None:
    offline = dataclasses.replace(settings, offline=True)
    with pytest.raises(NotDownloaded):
        choose_model("qwen3-8b", load_registry(offline), offline)
