"""`localserve list` and `localserve show`."""

from __future__ import annotations

import json

import pytest

from localserve.cli import show
from localserve.config import Settings
from tests.catalog.finders.test_ollama import add_model
from tests.catalog.gguf_files import write_gguf
from tests.cli.conftest import Run
from tests.gguf.small_models import SMALL_MODELS, write_small_model
from tests.planner.machines import machine


@pytest.fixture(autouse=True)
def _models(settings: Settings) -> None:
    write_gguf(settings.models_dir / "Qwen" / "Qwen3-8B-GGUF" / "Qwen3-8B-Q4_K_M.gguf")
    assert settings.ollama_models_dir is not None
    add_model(settings.ollama_models_dir, "registry.ollama.ai/library/phantom/latest")
    broken = settings.ollama_models_dir / "manifests" / "registry.ollama.ai" / "library" / "b" / "x"
    broken.parent.mkdir()
    broken.write_text("{")


def test_the_table_has_every_model_on_one_line_and_notes_go_to_stderr(run: Run) -> None:
    ran = run("list")
    lines = ran.out.splitlines()
    assert ran.status == 0
    assert len(lines) == 4
    assert [line.split()[0] for line in lines[1:]] == [
        "Qwen3-8B-Q4_K_M",
        "phantom:latest",
        "localserve-tiny",
    ]
    assert "ollama" in lines[2]
    assert "b:x is skipped" in ran.err


def test_json_has_every_field_and_the_notes(run: Run, settings: Settings) -> None:
    document = json.loads(run("list", "--json").out)
    first = document["models"][0]
    assert first == {
        "name": "Qwen3-8B-Q4_K_M",
        "aliases": [],
        "source": "localserve",
        "entry": "qwen3-8b",
        "size_bytes": first["size_bytes"],
        "quantization": "Q4_K_M",
        "architecture": "llama",
        "repo": "Qwen/Qwen3-8B-GGUF",
        "path": str(settings.models_dir / "Qwen" / "Qwen3-8B-GGUF" / "Qwen3-8B-Q4_K_M.gguf"),
        "files": [first["path"]],
        "used_at": "2001-09-09T01:46:40+00:00",
        "problem": None,
    }
    assert len(document["notes"]) == 1
    assert "catalog" not in document


def test_a_text_selects_by_name_and_by_the_catalog_s_names(run: Run) -> None:
    def names(text: str) -> list[str]:
        return [model["name"] for model in json.loads(run("list", "--json", text).out)["models"]]

    assert names("PHAN") == ["phantom:latest"]
    assert names("qwen3:8b") == ["Qwen3-8B-Q4_K_M"]
    assert names("nothing") == []
    assert "No model on this disk has 'nothing'" in run("list", "nothing").out


def test_all_adds_the_catalog_and_what_of_it_is_here(run: Run) -> None:
    document = json.loads(run("list", "--all", "--json").out)
    on_disk = {entry["name"] for entry in document["catalog"] if entry["on_disk"]}
    assert on_disk == {"localserve-tiny", "qwen3-8b"}
    assert len(document["catalog"]) > 20
    table = run("list", "--all", "qwen3-8b").out
    assert "parameters" in table
    assert "5.0 GB" in table


def test_names_of_files_cannot_write_to_the_terminal(run: Run, settings: Settings) -> None:
    write_gguf(settings.models_dir / "o" / "r" / "a\x1b[31m[red]b.gguf")
    out = run("list").out
    assert "\x1b" not in out
    assert "a\ufffd[31m[red]b" in out


def test_a_damaged_model_is_listed_with_its_problem(run: Run, settings: Settings) -> None:
    (settings.models_dir / "o").mkdir()
    (settings.models_dir / "o" / "bad.gguf").write_bytes(b"")
    assert "not usable: it is empty" in run("list", "bad").out


def test_a_partial_download_is_listed_and_not_on_disk_for_the_catalog(
    run: Run, settings: Settings
) -> None:
    folder = settings.models_dir / "Qwen" / "Qwen3-4B-GGUF"
    write_gguf(folder / "Qwen3-4B-Q4_K_M.gguf.0123456789abcdef.partial")
    document = json.loads(run("list", "--all", "--json", "qwen3-4b").out)
    assert [model["problem"] for model in document["models"]] == ["its download is not complete"]
    assert [entry["on_disk"] for entry in document["catalog"]] == [False]
    shown = json.loads(run("show", "qwen3-4b", "--json").out)
    assert not shown["catalog"]["on_disk"]


def test_show_tells_of_a_model_on_this_disk_and_of_its_plan(
    run: Run, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "this_machine", lambda settings: machine(ram_gib=0.5))
    path = settings.models_dir / "Qwen" / "Qwen3-8B-GGUF" / "Qwen3-8B-Q4_K_M.gguf"
    write_small_model(path, SMALL_MODELS["qwen3"])
    ran = run("show", "qwen3-8b")
    assert ran.status == 0
    for words in ("localserve's downloads", "Q4_K_M", "qwen3, qwen3:8b", "8.2 B"):
        assert words in ran.out
    assert "of RAM with 4096 tokens of context, where models may take 512 MiB now" in ran.out
    assert "does not fit" not in ran.out
    document = json.loads(run("show", "qwen3-8b", "--json").out)
    assert document["fits"] is True
    assert path.stat().st_size < document["needed_bytes"] < document["available_bytes"] == 1 << 29
    monkeypatch.setattr(show, "this_machine", lambda settings: machine(ram_gib=0.25))
    assert "256 MiB now: it does not fit" in run("show", "qwen3-8b").out
    assert json.loads(run("show", "qwen3-8b", "--json").out)["fits"] is False


def test_show_tells_why_a_model_cannot_be_run(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "this_machine", lambda settings: machine())
    ran = run("show", "phantom", "--json")
    document = json.loads(ran.out)
    assert document["model"]["name"] == "phantom:latest"
    assert (document["catalog"], document["fits"], document["needed_bytes"]) == (None, None, None)
    assert "cut off" in ran.err


def test_show_tells_of_a_model_that_can_be_downloaded(run: Run) -> None:
    ran = run("show", "qwen3-4b")
    assert "no; localserve pull qwen3-4b" in ran.out
    document = json.loads(run("show", "qwen3-4b", "--json").out)
    assert document["model"] is None
    assert document["catalog"]["repo"] == "Qwen/Qwen3-4B-GGUF"


def test_show_of_an_unknown_name_fails_with_the_nearest(run: Run) -> None:
    ran = run("show", "fantom")
    assert ran.status == 1
    assert "phantom" in ran.err
    assert ran.out == ""
