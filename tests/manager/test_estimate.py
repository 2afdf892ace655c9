"""What a model needs, of its file: by llama.cpp's own count, else by formula."""

from __future__ import annotations

from pathlib import Path

import pytest

from localserve.backends.local import LoadOptions
from localserve.catalog.spec import HubFile, LocalFile, ModelSpec
from localserve.errors import ModelMalformed, ModelUnusable
from localserve.manager import estimate
from localserve.manager.estimate import FileEstimate
from localserve.planner.dry_run import Refused


@pytest.fixture
def cut_off(tiny_f16: Path, tmp_path: Path) -> Path:
    path = tmp_path / "cut.gguf"
    path.write_bytes(tiny_f16.read_bytes()[:5_000])
    return path


def of(path: Path, **more: object) -> ModelSpec:
    return ModelSpec("tiny", LocalFile(path), **more)  # type: ignore[arg-type]


def estimator(**options: object) -> FileEstimate:
    return FileEstimate(lambda spec: LoadOptions(**options))  # type: ignore[arg-type]


async def test_it_is_asked_once_for_each_way_of_running(
    tiny_f16: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    real = estimate.dry_run

    def counting(path: Path, runtimes: list[object]) -> object:
        asked.append(runtimes)
        return real(path, runtimes)  # type: ignore[arg-type]

    monkeypatch.setattr(estimate, "dry_run", counting)
    ask = estimator(parallel=2)
    whole, again, half = [
        await ask(of(tiny_f16, context_tokens=2_048), limit) for limit in (None, None, 1_024)
    ]
    assert whole is again
    assert len(asked) == 2
    assert (whole.runtime.context_tokens, half.runtime.context_tokens) == (2_048, 1_024)
    assert whole.usage.cache_bytes == 2 * half.usage.cache_bytes
    assert whole.device_bytes["CPU"] == whole.usage.total_bytes + whole.usage.output_bytes


async def test_where_llama_cpp_does_not_tell_the_formula_does(
    tiny_f16: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = estimator(parallel=2)
    exact = await asked(of(tiny_f16), None)
    monkeypatch.setattr(estimate, "dry_run", lambda *question: [Refused("it does not say")])
    guessed = await estimator(parallel=2)(of(tiny_f16), None)
    assert guessed.runtime == exact.runtime
    assert guessed.usage.weights_bytes == pytest.approx(exact.usage.weights_bytes, rel=0.05)
    assert guessed.usage.cache_bytes == exact.usage.cache_bytes


async def test_a_model_that_ends_the_child_is_never_loaded(
    tiny_f16: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crash = Refused("llama.cpp gave up on this file (SIGABRT): GGML_ASSERT", crashed=True)
    monkeypatch.setattr(estimate, "dry_run", lambda *question: [crash])
    with pytest.raises(ModelUnusable, match="SIGABRT"):
        await estimator()(of(tiny_f16), None)


async def test_what_the_file_cannot_do_is_said_before_anything_is_loaded(
    tiny_f16: Path, cut_off: Path
) -> None:
    with pytest.raises(ModelUnusable, match=r"40960 tokens, 1000000 were asked"):
        await estimator(context_tokens=1_000_000)(of(tiny_f16), None)
    with pytest.raises(ModelMalformed):
        await estimator()(of(cut_off), None)
    with pytest.raises(ModelUnusable, match="not on this disk"):
        await estimator()(ModelSpec("far", HubFile("a/b")), None)
