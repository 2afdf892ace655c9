"""Which model is served when none is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from localserve.catalog.finders.record import FoundModel, Source
from localserve.catalog.headers import read_local
from localserve.catalog.registry import Registry
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.config import Settings, read_settings
from localserve.planner.default import Choice, choose_default
from localserve.planner.gauge import by_formula
from localserve.planner.learned import LoadLesson, learn_load
from localserve.planner.machine import Machine
from localserve.planner.plan import Wanted, make_plan
from tests.planner.machines import GIB, machine
from tests.planner.real_shapes import SHAPES, write_header


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("shapes")
    return {
        name: write_header(folder / f"{name}.gguf", SHAPES[name], "Q4_K_M", words=False)
        for name in ("qwen3-8b", "qwen3-0.6b")
    }


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return read_settings(environ={"LOCALSERVE_HOME": str(tmp_path / "home")})


def found_at(
    path: Path, *, used_at: float = 0.0, source: Source = "hub", **more: str
) -> FoundModel:
    size_bytes = path.stat().st_size if path.exists() else 1_000
    name = more.pop("name", path.stem)
    return FoundModel(name, source, (path,), size_bytes, used_at, **more)  # type: ignore[arg-type]


def chosen(
    models: list[FoundModel],
    settings: Settings,
    on: Machine | None = None,
    registry: Registry | None = None,
) -> Choice:
    return choose_default(
        models, registry or Registry(), settings, lambda settings: on or machine(ram_gib=32)
    )


def test_without_models_it_is_the_built_in_one_and_no_machine_is_looked_at(
    settings: Settings,
) -> None:
    def fail(settings: Settings) -> Machine:
        raise AssertionError("the machine is of no interest")

    choice = choose_default((), Registry(), settings, fail)
    assert choice.found is None
    assert choice.why == "the built-in model: there is no other model on this disk"


def test_the_most_recently_used_is_taken(files: dict[str, Path], settings: Settings) -> None:
    path = files["qwen3-0.6b"]
    models = [found_at(path, used_at=used_at) for used_at in (1, 3, 2)]
    choice = chosen(models, settings)
    assert choice.found is models[1]
    assert choice.why == "the most recently used model on this disk, from the Hugging Face cache"
    assert choice.skipped == ()


def test_what_does_not_fit_is_passed_over_with_numbers(
    files: dict[str, Path], settings: Settings
) -> None:
    large = found_at(files["qwen3-8b"], used_at=2, source="ollama")
    small = found_at(files["qwen3-0.6b"], used_at=1)
    choice = chosen([large, small], settings, machine(ram_gib=5.5))
    assert choice.found is small
    (told,) = choice.skipped
    assert told == (
        "ollama/qwen3-8b is not taken: with 8192 tokens of context it needs 6.4 GiB of RAM, and"
        " models may take 5.5 GiB."
    )
    assert "that can be served here" in choice.why
    (told,) = chosen([large], settings, machine(ram_gib=4)).skipped
    assert "its files have 4.8 GiB, and models may take 4.0 GiB here" in told


def test_it_is_the_plan_that_decides_to_the_byte(
    files: dict[str, Path], settings: Settings
) -> None:
    model = found_at(files["qwen3-8b"])
    facts = read_local(model.path).facts
    plan = make_plan(facts, Wanted(), machine(), by_formula(facts, ()))
    needed = plan.tightest.needed_bytes
    assert chosen([model], settings, machine(ram_gib=needed / GIB)).found is model
    assert chosen([model], settings, machine(ram_gib=(needed - 1) / GIB)).found is None


def test_gpus_count_and_so_do_settings_entries_and_lessons(
    files: dict[str, Path], settings: Settings, tmp_path: Path
) -> None:
    model = found_at(files["qwen3-8b"])
    tight = machine(ram_gib=6.5)
    assert chosen([model], settings, machine(8, ram_gib=2)).found is model
    assert chosen([model], settings, tight).found is model
    longer = ModelSpec("mine", LocalFile(model.path), aliases=("qwen3-8b",), context_tokens=16_384)
    assert chosen([model], settings, tight, Registry((longer,))).found is None
    environ = {"LOCALSERVE_HOME": str(tmp_path / "home"), "LOCALSERVE_CONTEXT_TOKENS": "16384"}
    assert chosen([model], read_settings(environ=environ), tight).found is None
    learn_load(settings, "qwen3", "CPU", LoadLesson(1_000, 1_100))
    assert chosen([model], settings, tight).found is None


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"problem": "it is empty"}, "it is empty"),
        ({"name": "bge-m3", "architecture": "bert"}, "embeddings"),
        ({"name": "x", "architecture": "nomic-bert-moe"}, "embeddings"),
        ({"name": "Qwen3-Embedding-0.6B"}, "embeddings"),
        ({"name": "gte-large", "architecture": "qwen2", "pooling": "last"}, "embeddings"),
        ({"name": "mxbai-large", "architecture": "qwen2", "pooling": "rank"}, "ranks texts"),
        ({"name": "Qwen3-Reranker-0.6B"}, "ranks texts"),
    ],
)
def test_what_cannot_chat_is_passed_over(
    files: dict[str, Path], settings: Settings, more: dict[str, str], words: str
) -> None:
    choice = chosen([found_at(files["qwen3-0.6b"], **more)], settings)  # type: ignore[arg-type]
    assert choice.found is None
    assert words in choice.skipped[0]
    assert "no other model on this disk can be served here" in choice.why


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"kind": "embedding"}, "it makes embeddings, not text"),
        ({"pooling": "mean"}, "it makes embeddings, not text"),
        ({"pooling": "rank"}, "it ranks texts and writes none"),
    ],
)
def test_what_is_configured_to_make_vectors_is_passed_over(
    files: dict[str, Path], settings: Settings, entry: dict[str, Any], words: str
) -> None:
    model = found_at(files["qwen3-0.6b"])
    spec = ModelSpec("mine", LocalFile(model.path), aliases=(model.name,), **entry)
    choice = chosen([model], settings, registry=Registry((spec,)))
    assert choice.found is None
    assert words in choice.skipped[0]


def test_a_reason_that_is_a_sentence_ends_once(settings: Settings) -> None:
    broken = found_at(Path("m.gguf"), problem="it has 4 bytes (2 and 2).")
    assert chosen([broken], settings).skipped == ("hub/m is not taken: it has 4 bytes (2 and 2).",)


def test_what_cannot_be_loaded_is_passed_over_with_the_reason(
    files: dict[str, Path], settings: Settings, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.gguf"
    with files["qwen3-0.6b"].open("rb") as whole:
        cut.write_bytes(whole.read(1_000))
    choice = chosen([found_at(cut)], settings)
    assert choice.found is None
    assert "984 bytes are left" in choice.skipped[0]
