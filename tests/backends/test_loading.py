"""What is left of a load that failed: nothing."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import llama_cpp
import pytest

from localserve.backends import embedding, local
from localserve.backends.loading import LoadOptions
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.errors import OutOfMemory
from localserve.planner.plan import Wanted
from localserve.prompting.sandbox import TemplateProcess
from tests.gguf.small_models import SMALL_MODELS, write_small_model

OPTIONS = LoadOptions(Wanted(context_tokens=512), threads=1)


@pytest.fixture
def freed(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The models that llama.cpp has freed since."""
    free = llama_cpp.llama_model_free
    models: list[object] = []

    def note(pointer: object) -> None:
        models.append(pointer)
        free(pointer)

    monkeypatch.setattr(llama_cpp, "llama_model_free", note)
    return models


def no_memory(*arguments: object) -> NoReturn:
    raise OutOfMemory("There is no memory.")


@pytest.mark.parametrize("fails", ["make_context", "LlamaRunner.warm_up"])
async def test_weights_are_freed_before_the_error_is_handled(
    tiny_f16: Path, freed: list[object], monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    monkeypatch.setattr(f"localserve.llama.runner.{fails}", no_memory)
    templates = TemplateProcess()
    with pytest.raises(OutOfMemory) as error:
        await local.load(
            ModelSpec("tiny", LocalFile(tiny_f16)), OPTIONS, lambda share: None, templates
        )
    await templates.close()
    assert error.value.__traceback__ is not None
    assert len(freed) == 1, "a second try would find the memory taken"


@pytest.mark.parametrize("fails", ["make_context", "LlamaEmbedder.warm_up"])
async def test_weights_of_an_embedding_model_are_freed_before_the_error_is_handled(
    model_folder: Path, freed: list[object], monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = write_small_model(model_folder / "failing-encoder.gguf", SMALL_MODELS["bert"])
    monkeypatch.setattr(f"localserve.llama.embedder.{fails}", no_memory)
    with pytest.raises(OutOfMemory) as error:
        await embedding.load(ModelSpec("encoder", LocalFile(path)), OPTIONS, lambda share: None)
    assert error.value.__traceback__ is not None
    assert len(freed) == 1, "a second try would find the memory taken"
