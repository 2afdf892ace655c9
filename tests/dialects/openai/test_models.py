"""The entries of the list of models."""

from __future__ import annotations

from localserve.dialects.openai import ListedModel, LoadedModel, list_fields, model_fields


def test_a_loaded_model_says_what_clients_read() -> None:
    loaded = LoadedModel(4096, 32768, 1000, 64, 600, 1200)
    assert model_fields(ListedModel("m", ("alias",), 5, loaded)) == {
        "id": "m",
        "object": "model",
        "created": 5,
        "owned_by": "localserve",
        "aliases": ["alias"],
        "max_model_len": 4096,
        "meta": {
            "n_ctx": 4096,
            "n_ctx_train": 32768,
            "n_vocab": 1000,
            "n_embd": 64,
            "n_params": 600,
            "size": 1200,
        },
    }


def test_a_model_that_is_not_loaded_is_listed_all_the_same() -> None:
    fields = list_fields([ListedModel("m", (), 5)])
    assert fields["object"] == "list"
    assert fields["data"] == [
        {"id": "m", "object": "model", "created": 5, "owned_by": "localserve", "aliases": []}
    ]
