"""What is told of models by their files."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from localserve.catalog.registry import BUILTIN_NAME, shipped_registry
from localserve.catalog.spec import HubFile, LocalFile, ModelSpec
from localserve.manager.summary import Summaries
from localserve.planner.plan import Wanted, wanted_by
from tests.catalog.gguf_files import write_gguf


def builtin() -> ModelSpec:
    spec = shipped_registry().find(BUILTIN_NAME)
    assert spec is not None
    return spec


async def test_the_built_in_model() -> None:
    spec = builtin()
    assert isinstance(spec.source, LocalFile)
    (summary,) = await Summaries(wanted_by).of([spec])
    assert summary is not None
    assert summary.size_bytes == spec.source.path.stat().st_size
    assert summary.values["general.architecture"] == summary.architecture
    assert summary.values["tokenizer.ggml.tokens"] is None
    assert len(summary.digest) == 64
    assert summary.parameters > 1_000_000
    assert summary.chat_template
    assert {"completion", "tools", "insert"} <= set(summary.capabilities)
    assert summary.problem == ""


async def test_the_context_is_the_one_that_would_be_served() -> None:
    wishes = [Wanted(), Wanted(context_tokens=512), Wanted(pooling="last")]
    told = []
    for wanted in wishes:
        (summary,) = await Summaries(lambda spec, wanted=wanted: wanted).of([builtin()])  # type: ignore[misc]
        assert summary is not None
        told.append((summary.context_tokens, summary.capabilities))
    trained, asked, vectors = told
    assert asked[0] == 512
    assert trained[0] == vectors[0] > 512
    assert vectors[1] == ("embedding",)


async def test_what_makes_scores_ranks(reranker: Path) -> None:
    spec = ModelSpec("ranker", LocalFile(reranker))
    (summary,) = await Summaries(wanted_by).of([spec])
    assert summary is not None
    assert summary.capabilities == ("rerank",)


async def test_a_file_is_read_again_when_it_changes(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", {"general.architecture": "nothing"})
    spec = ModelSpec("m", LocalFile(path))
    summaries = Summaries(wanted_by)
    (first,) = await summaries.of([spec])
    (second,) = await summaries.of([spec])
    assert first is second
    os.utime(path, (2e9, 2e9))
    (third,) = await summaries.of([spec])
    assert first is not None
    assert third is not None
    assert third.digest != first.digest
    path.unlink()
    assert await summaries.of([spec]) == [None]


async def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(b"GGUF is not all of it")
    (summary,) = await Summaries(wanted_by).of([ModelSpec("m", LocalFile(path))])
    assert summary is not None
    assert summary.problem
    assert summary.size_bytes == 21
    assert summary.capabilities == ()


async def test_a_model_that_is_elsewhere_has_no_file() -> None:
    spec = replace(builtin(), source=HubFile("owner/name"))
    assert await Summaries(wanted_by).of([spec]) == [None]
