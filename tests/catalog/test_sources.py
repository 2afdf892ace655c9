"""What a user typed -> a repository, an address, or neither."""

from __future__ import annotations

import pytest

from localserve.catalog.filenames import files_by_quantization
from localserve.catalog.sources import HubModel, UrlFile, parse_remote
from localserve.catalog.spec import HubFile


@pytest.mark.parametrize(
    ("text", "repo", "quantization"),
    [
        ("Qwen/Qwen3-8B-GGUF", "Qwen/Qwen3-8B-GGUF", None),
        ("Qwen/Qwen3-8B-GGUF:Q4_K_M", "Qwen/Qwen3-8B-GGUF", "Q4_K_M"),
        ("hf.co/Qwen/Qwen3-8B-GGUF:q8_0", "Qwen/Qwen3-8B-GGUF", "q8_0"),
        ("huggingface.co/a/b", "a/b", None),
        ("hf:a/b", "a/b", None),
        ("https://huggingface.co/a/b", "a/b", None),
        ("https://hf.co/a/b/", "a/b", None),
        ("http://hub.local:8000/a/b", "a/b", None),
    ],
)
def test_a_repository_has_many_spellings(text: str, repo: str, quantization: str | None) -> None:
    found = parse_remote(text, "http://hub.local:8000")
    assert found == HubModel(HubFile(repo), quantization)


@pytest.mark.parametrize("page", ["blob", "resolve"])
def test_a_files_page_on_the_hub_is_that_file_of_the_repository(page: str) -> None:
    for shard in ("", "-00002-of-00003"):
        found = parse_remote(f"https://huggingface.co/a/b/{page}/main/sub/m-Q4_0{shard}.gguf")
        assert found == HubModel(HubFile("a/b", "sub/m-Q4_0.gguf"))


def test_a_files_page_means_that_file_alone_whatever_signs_its_name_has() -> None:
    found = parse_remote("https://huggingface.co/a/b/resolve/main/x[1]*-Q4_0.gguf")
    assert isinstance(found, HubModel)
    files = ["x1-Q4_0.gguf", "x[1]*-Q4_0.gguf", "x[1]y-Q4_0.gguf"]
    assert files_by_quantization(found.source, files) == {"Q4_0": ("x[1]*-Q4_0.gguf",)}


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/models/m.gguf",
        "https://example.com/a/b",
        "http://127.0.0.1:9/m.gguf?token=secret",
        "https://huggingface.co/a/b/resolve/0123abc/m.gguf",
        "https://huggingface.co/a/b/resolve/main/m.gguf?download=true",
    ],
)
def test_another_address_is_a_file_there(text: str) -> None:
    assert parse_remote(text) == UrlFile(text)


def test_another_revisions_page_leads_to_its_file() -> None:
    found = parse_remote("https://huggingface.co/a/b/blob/v2/m.gguf")
    assert found == UrlFile("https://huggingface.co/a/b/resolve/v2/m.gguf")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "qwen3-8b",
        "models/file.gguf",
        "../a/b",
        "/a/b",
        "a/b/c",
        "a/b:",
        "a/b:Q4 K",
        "a b/c",
        "ftp://example.com/m.gguf",
        "https://",
        "https://[::1/m.gguf",
        "a/" + "b" * 5000,
    ],
)
def test_what_is_neither_is_none(text: str) -> None:
    assert parse_remote(text) is None


def test_a_files_name_carries_no_secret() -> None:
    assert UrlFile("https://example.com/x/my%20model.gguf?token=s").name == "my model.gguf"
    assert UrlFile("https://example.com/").name == "model.gguf"
