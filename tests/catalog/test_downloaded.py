"""All models of this disk together, and which of them a name means."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest

from localserve.catalog.downloaded import (
    all_named,
    builtin_model,
    entry_of,
    find_downloaded,
    folders,
    match_beginning,
    match_entry,
    match_exactly,
    to_spec,
)
from localserve.catalog.finders.record import FoundModel, Source
from localserve.catalog.registry import Registry, shipped_registry
from localserve.catalog.spec import HubFile, LocalFile, ModelSpec
from localserve.catalog.usage import remember_use
from localserve.chat import Sampling
from localserve.config import Settings, read_settings
from localserve.errors import AmbiguousName
from tests.catalog.finders.test_ollama import add_model
from tests.catalog.gguf_files import write_gguf

HUB = ModelSpec(
    "qwen3-8b",
    HubFile("Qwen/Qwen3-8B-GGUF", "Qwen3-8B-{quantization}.gguf"),
    aliases=("qwen3:8b",),
    sampling=Sampling(temperature=0.6),
)
ANY = ModelSpec("any", HubFile("owner/any-GGUF"))
REGISTRY = Registry((HUB, ANY))


def _model(
    name: str,
    source: Source = "hub",
    *,
    aliases: tuple[str, ...] = (),
    repo: str | None = None,
    problem: str = "",
    folder: str = "/m",
) -> FoundModel:
    path = Path(folder) / f"{name}.gguf"
    return FoundModel(name, source, (path,), 1, 0.0, aliases, repo, problem=problem)


def test_models_of_all_programs_are_found_newest_first(settings: Settings) -> None:
    write_gguf(settings.models_dir / "o" / "r" / "own.gguf", written_at=5)
    snapshot = settings.hub_cache_dir / "models--o--r" / "snapshots" / "a"
    write_gguf(snapshot / "hub.gguf", written_at=1)
    assert settings.lm_studio_models_dir is not None
    write_gguf(settings.lm_studio_models_dir / "o" / "r" / "studio.gguf", written_at=4)
    write_gguf(settings.llama_cache_dir / "llama.gguf", written_at=2)
    assert settings.ollama_models_dir is not None
    add_model(settings.ollama_models_dir, "registry.ollama.ai/library/o/latest", written_at=3)
    mine = ModelSpec("mine", LocalFile(write_gguf(settings.data_dir / "x.gguf", written_at=6)))
    found = find_downloaded(Registry((HUB, mine)), settings).models
    assert [model.full_name for model in found] == [
        "models.toml/mine",
        "localserve/own",
        "lm-studio/studio",
        "ollama/o:latest",
        "llama.cpp/llama",
        "hub/hub",
    ]


def test_a_file_in_two_places_counts_once_where_it_is_found_first(settings: Settings) -> None:
    snapshot = settings.hub_cache_dir / "models--o--r" / "snapshots" / "a"
    path = write_gguf(snapshot / "a.gguf")
    assert settings.lm_studio_models_dir is not None
    linked = settings.lm_studio_models_dir / "o" / "r" / "a.gguf"
    linked.parent.mkdir(parents=True)
    linked.symlink_to(path)
    hard = settings.llama_cache_dir / "a.gguf"
    hard.parent.mkdir()
    os.link(path, hard)
    (found,) = find_downloaded(REGISTRY, settings).models
    assert (found.source, found.path) == ("hub", path)


def test_the_one_served_last_comes_first(settings: Settings) -> None:
    old = write_gguf(settings.models_dir / "o" / "r" / "old.gguf", written_at=1)
    write_gguf(settings.models_dir / "o" / "r" / "new.gguf", written_at=2)
    assert [m.name for m in find_downloaded(REGISTRY, settings).models] == ["new", "old"]
    remember_use(old, settings)
    assert [m.name for m in find_downloaded(REGISTRY, settings).models] == ["old", "new"]


def test_notes_of_all_finders_are_kept(settings: Settings) -> None:
    assert settings.lm_studio_models_dir is not None
    broken = settings.lm_studio_models_dir / "o" / "r" / "a.gguf"
    broken.parent.mkdir(parents=True)
    broken.symlink_to("nowhere")
    assert find_downloaded(REGISTRY, settings).notes == (
        f"{broken} is a link to nothing; it is skipped.",
    )


def test_nothing_in_the_folders_of_others_is_changed(settings: Settings, tmp_path: Path) -> None:
    assert settings.ollama_models_dir is not None
    add_model(settings.ollama_models_dir, "registry.ollama.ai/library/o/latest")
    write_gguf(settings.hub_cache_dir / "models--o--r" / "snapshots" / "a" / "a.gguf")

    def state() -> dict[Path, tuple[int, int]]:
        return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in tmp_path.rglob("*")}

    before = state()
    find_downloaded(REGISTRY, settings)
    assert state() == before


def test_the_built_in_model_of_the_catalog_is_not_counted_but_known(settings: Settings) -> None:
    assert find_downloaded(shipped_registry(), settings).models == ()
    builtin = builtin_model()
    assert (builtin.name, builtin.source, builtin.problem) == ("localserve-tiny", "built-in", "")
    assert builtin.size_bytes > 0


def test_without_settings_every_usual_place_is_looked_into(tmp_path: Path, home: Path) -> None:
    everywhere = folders(read_settings({}, {"LOCALSERVE_HOME": str(tmp_path / "x")}))
    assert everywhere["ollama"][0] == home / ".ollama" / "models"
    assert everywhere["lm-studio"] == (
        home / ".lmstudio" / "models",
        home / ".cache" / "lm-studio" / "models",
    )


@pytest.mark.parametrize(
    "text", ["LLAMA3.2", "llama3.2:latest", "ollama/llama3.2", "Ollama/Llama3.2:Latest"]
)
def test_names_ignore_case_and_may_say_the_source(text: str) -> None:
    model = _model("llama3.2:latest", "ollama", aliases=("llama3.2",))
    other = _model("llama3.2:1b", "ollama")
    assert match_exactly(text, (other, model)) is model


@pytest.mark.parametrize("text", ["owner/repo", "a-Q4_0", "A-q4_0.gguf", "hub/a-Q4_0"])
def test_repository_and_file_are_names_too(text: str) -> None:
    model = _model("a-Q4_0", repo="owner/repo")
    assert match_exactly(text, (model, _model("b"))) is model


def test_one_name_in_two_places_is_ambiguous_unless_one_is_damaged() -> None:
    hub, studio = _model("a"), _model("A", "lm-studio")
    with pytest.raises(AmbiguousName) as caught:
        match_exactly("a", (hub, studio))
    assert caught.value.message == "'a' could be 2 models: hub/a, lm-studio/A."
    assert caught.value.hint == "Write one of them."
    assert match_exactly("lm-studio/a", (hub, studio)) is studio
    damaged = dataclasses.replace(hub, problem="it is empty")
    assert match_exactly("a", (damaged, studio)) is studio
    assert len(all_named("a", (damaged, studio))) == 2


def test_where_even_the_source_is_the_same_the_paths_are_listed() -> None:
    one, two = _model("a", folder="/1"), _model("a", folder="/2")
    with pytest.raises(AmbiguousName) as caught:
        match_exactly("a", (one, two))
    assert caught.value.known == ("/1/a.gguf", "/2/a.gguf")


def test_a_beginning_that_only_one_has_is_enough() -> None:
    models = (_model("Qwen3-8B-Q4_K_M"), _model("qwen3-4b"), _model("gemma:4b", "ollama"))
    assert match_beginning("qwen3-8", models) is models[0]
    assert match_beginning("ollama/g", models) is models[2]
    assert match_beginning("wen3", models) is None
    with pytest.raises(AmbiguousName, match="could be 2 models: Qwen3-8B-Q4_K_M, qwen3-4b"):
        match_beginning("qwen", models)


@pytest.mark.parametrize(
    ("model", "entry"),
    [
        (_model("Qwen3-8B-Q4_K_M", repo="Qwen/Qwen3-8B-GGUF"), HUB),
        (_model("qwen3-8b-q8_0", "lm-studio", repo="lmstudio-community/Qwen3-8B-GGUF"), HUB),
        (_model("qwen3:8b", "ollama"), HUB),
        (_model("any-Q4_0", repo="owner/any-GGUF"), ANY),
        (_model("any-Q4_0", repo="other/any-GGUF"), None),
        (_model("Qwen3-8B-finetuned-Q4_K_M", repo="o/r"), None),
        (_model("something"), None),
    ],
)
def test_the_catalog_s_entry_of_a_file_is_known(model: FoundModel, entry: ModelSpec | None) -> None:
    assert entry_of(model, REGISTRY) is entry


def test_the_entry_brings_its_settings_and_the_file_its_name() -> None:
    found = _model("Qwen3-8B-Q4_K_M", "lm-studio", repo="x/y")
    spec = to_spec(found, REGISTRY)
    assert (spec.name, spec.source) == ("qwen3-8b", LocalFile(found.path))
    assert (spec.sampling, spec.aliases) == (HUB.sampling, ("qwen3:8b", "Qwen3-8B-Q4_K_M"))
    alone = _model("a", "ollama", aliases=("b",))
    assert to_spec(alone, REGISTRY) == ModelSpec("a", LocalFile(alone.path), ("b",))


def test_of_the_files_of_an_entry_the_first_that_is_whole_is_taken() -> None:
    cut = _model("Qwen3-8B-Q8_0", problem="its download is not complete")
    whole = _model("Qwen3-8B-Q4_K_M")
    assert match_entry(HUB, (_model("x"), cut, whole), REGISTRY) is whole
    assert match_entry(ANY, (cut, whole), REGISTRY) is None


def test_a_model_that_makes_vectors_is_known_as_one(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "vectors.gguf", {"llama.pooling_type": 2})
    plain = write_gguf(tmp_path / "plain.gguf")
    registry = Registry(
        (ModelSpec("one", LocalFile(path)), ModelSpec("two", LocalFile(plain), pooling="last"))
    )
    settings = read_settings(environ={"LOCALSERVE_HOME": str(tmp_path / "home")})
    found = {model.name: model for model in find_downloaded(registry, settings).models}
    assert found["one"].pooling == "cls"
    assert found["two"].pooling == "last"
    assert to_spec(found["one"], Registry(())).pooling == "cls"
    assert to_spec(found["two"], registry).pooling == "last"
