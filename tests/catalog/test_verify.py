"""The catalog's numbers against a hub that says otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from localserve.catalog.headers import read_local
from localserve.catalog.spec import HubFile, ModelSpec, Shape
from localserve.catalog.verify import differences
from localserve.config import Settings, read_settings
from localserve.errors import ModelUnusable
from tests.catalog.hub_server import Hub, serve_hub
from tests.planner.real_shapes import SHAPES, write_header

SOURCE = HubFile("owner/qwen3-8b-GGUF", "qwen3-8b-{quantization}.gguf")


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as hub:
        yield hub


@pytest.fixture
def settings(hub: Hub, tmp_path: Path) -> Settings:
    return read_settings({}, {"LOCALSERVE_HOME": str(tmp_path / "home"), "HF_ENDPOINT": hub.url})


@pytest.fixture
def spec(hub: Hub, tmp_path: Path) -> ModelSpec:
    """An entry that agrees with what the hub has."""
    name = "qwen3-8b-Q4_K_M.gguf"
    path = write_header(tmp_path / name, SHAPES["qwen3-8b"], "Q4_K_M", words=False)
    headers = read_local(path)
    size = headers.facts.size_bytes
    hub.repositories[SOURCE.repo] = {name: headers.files[0].raw}
    hub.sizes[name] = size
    count = headers.facts.parameters
    shape = Shape(count, count, 36, 4_096, 32, 8, 128, 151_936, 40_960)
    return ModelSpec("qwen3-8b", SOURCE, shape=shape, quantizations={"Q4_K_M": size})


def test_what_agrees_is_not_spoken_of(spec: ModelSpec, settings: Settings) -> None:
    assert list(differences(spec, SOURCE, settings)) == []


def test_every_number_that_differs_is_named_with_both(spec: ModelSpec, settings: Settings) -> None:
    assert spec.shape is not None
    wrong = replace(
        spec,
        shape=replace(spec.shape, layers=35, vocabulary=1),
        quantizations={"Q4_K_M": 5, "Q8_0": 6},
    )
    assert list(differences(wrong, SOURCE, settings)) == [
        f"Q4_K_M has {spec.quantizations['Q4_K_M']} bytes, not 5",
        "Q8_0 is not in the repository, which has Q4_K_M",
        "layers is 36, not 35",
        "vocabulary is 151936, not 1",
    ]


def test_a_repository_that_is_gone_is_an_error(spec: ModelSpec, settings: Settings) -> None:
    with pytest.raises(ModelUnusable, match="no repository"):
        list(differences(spec, HubFile("owner/gone"), settings))
