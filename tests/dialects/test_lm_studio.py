"""LM Studio's list of models."""

from __future__ import annotations

from localserve.dialects.lm_studio import ListedModel, list_fields, model_fields


def test_a_loaded_model_tells_the_context_that_a_request_may_use() -> None:
    model = ListedModel("m", "llm", "qwen3", "Q4_K_M", 8192, 40960)
    assert model_fields(model) == {
        "id": "m",
        "object": "model",
        "type": "llm",
        "publisher": "localserve",
        "arch": "qwen3",
        "compatibility_type": "gguf",
        "quantization": "Q4_K_M",
        "state": "loaded",
        "max_context_length": 40960,
        "loaded_context_length": 8192,
    }


def test_what_is_not_known_is_left_out() -> None:
    (model,) = list_fields([ListedModel("m", "embeddings")])["data"]  # type: ignore[misc]
    assert model["state"] == "not-loaded"
    assert model.keys() == {"id", "object", "type", "publisher", "compatibility_type", "state"}
