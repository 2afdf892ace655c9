"""What a pull is asked for, and whether this disk has it already."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from localserve.catalog.downloaded import find_downloaded
from localserve.catalog.package import Package, choose_projector
from localserve.catalog.registry import Registry, shipped_registry
from localserve.catalog.remote import Checksum, RemoteFile
from localserve.catalog.sources import HubModel, UrlFile
from localserve.catalog.spec import HubFile, LocalFile, ModelSpec
from localserve.catalog.url_files import url_folder
from localserve.catalog.wanted import Wanted, find_here, find_same, parse_wanted
from localserve.config import Settings
from localserve.errors import AmbiguousName, ModelUnusable, UnknownModel
from tests.catalog.gguf_files import write_gguf

SHIPPED = shipped_registry()


def _wanted(text: str, settings: Settings, registry: Registry = SHIPPED) -> Wanted:
    wanted = parse_wanted(text, registry, settings)
    assert isinstance(wanted, Wanted)
    return wanted


@pytest.mark.parametrize(
    ("text", "name", "quantization"),
    [
        ("qwen3-8b", "qwen3-8b", None),
        ("qwen3:8b", "qwen3-8b", None),  # an alias with a colon
        ("Qwen3-8B:q6_k", "qwen3-8b", "q6_k"),
        ("qwen3:8b:Q8_0", "qwen3-8b", "Q8_0"),
        ("qwen3-8", "qwen3-8b", None),  # the beginning of one name
    ],
)
def test_names_of_the_catalog_may_say_a_quantization(
    settings: Settings, text: str, name: str, quantization: str | None
) -> None:
    wanted = _wanted(text, settings)
    assert wanted.entry is not None
    assert wanted.name == name
    assert isinstance(wanted.remote, HubModel)
    assert wanted.remote.quantization == quantization


def test_repositories_and_addresses_are_wanted_too(settings: Settings) -> None:
    assert _wanted("o/r:Q8_0", settings).remote == HubModel(HubFile("o/r"), "Q8_0")
    url = "https://example.org/a/m-Q4_0.gguf"
    assert _wanted(url, settings).remote == UrlFile(url)
    with pytest.raises(ModelUnusable, match=r"not the address of a \.gguf file"):
        _wanted("https://example.org/page", settings)


def test_a_name_that_means_several_lists_them(settings: Settings) -> None:
    with pytest.raises(AmbiguousName, match="qwen3-8b") as caught:
        _wanted("qwen3-", settings)
    assert len(caught.value.known) > 1


def test_a_name_that_nothing_has_is_answered_with_the_nearest(settings: Settings) -> None:
    with pytest.raises(UnknownModel, match="qwen3-8b"):
        _wanted("qwem3-8b", settings)


def test_a_model_whose_file_is_given_need_not_be_fetched(settings: Settings) -> None:
    local = ModelSpec("mine", LocalFile(Path("/x.gguf")))
    assert parse_wanted("mine", Registry((local,)), settings) is local


def test_a_model_of_the_catalog_is_here_in_whatever_program_and_quantization(
    settings: Settings,
) -> None:
    assert settings.lm_studio_models_dir is not None
    folder = settings.lm_studio_models_dir / "someone" / "Qwen3-8B-GGUF"
    path = write_gguf(folder / "Qwen3-8B-Q6_K.gguf")
    here = find_here(_wanted("qwen3-8b", settings), SHIPPED, settings)
    assert here is not None
    assert here.path == path
    assert find_here(_wanted("qwen3-8b:Q6_K", settings), SHIPPED, settings) == here
    assert find_here(_wanted("qwen3-8b:Q4_K_M", settings), SHIPPED, settings) is None


def test_a_repository_s_files_are_here_by_quantization_the_usual_one_first(
    settings: Settings,
) -> None:
    folder = settings.models_dir / "o" / "r"
    for quantization in ("Q2_K", "Q4_K_M"):
        write_gguf(folder / f"m-{quantization}.gguf")
    here = find_here(_wanted("o/r", settings), SHIPPED, settings)
    assert here is not None
    assert here.quantization == "Q4_K_M"
    small = find_here(_wanted("O/R:q2_k", settings), SHIPPED, settings)
    assert small is not None
    assert small.quantization == "Q2_K"
    assert find_here(_wanted("o/r:Q8_0", settings), SHIPPED, settings) is None
    assert find_here(_wanted("o/other", settings), SHIPPED, settings) is None


def test_an_address_of_the_hub_is_here_by_its_file(settings: Settings) -> None:
    write_gguf(settings.models_dir / "o" / "r" / "m-Q4_0.gguf")
    hub = "https://huggingface.co/o/r/resolve/main"
    assert find_here(_wanted(f"{hub}/m-Q4_0.gguf", settings), SHIPPED, settings)
    assert not find_here(_wanted(f"{hub}/n-Q4_0.gguf", settings), SHIPPED, settings)


def test_a_cut_download_is_not_here(settings: Settings) -> None:
    write_gguf(settings.models_dir / "o" / "r" / "m-Q4_0.gguf.0123456789abcdef.partial")
    assert find_here(_wanted("o/r", settings), SHIPPED, settings) is None


def test_the_file_of_an_address_is_here_only_if_it_came_from_there(settings: Settings) -> None:
    url = "https://example.org/a/m-Q4_0.gguf?secret=1"
    path = write_gguf(url_folder(UrlFile(url), settings) / "m-Q4_0.gguf")
    here = find_here(_wanted(url, settings), SHIPPED, settings)
    assert here is not None
    assert here.path == path
    other = _wanted("https://example.org/b/m-Q4_0.gguf", settings)
    assert find_here(other, SHIPPED, settings) is None


@pytest.mark.parametrize(
    ("here", "asked", "same"),
    [
        ("?rev=1", "?rev=2", False),
        ("", "?rev=1", False),
        ("?rev=1", "?rev=1", True),
        ("?rev=1&X-Amz-Signature=a", "?X-Amz-Signature=b&X-Amz-Date=3&rev=1", True),
        ("?Expires=1&Signature=a&Key-Pair-Id=b&Policy=c", "", True),
        ("#part", "", True),
    ],
)
def test_what_an_address_asks_for_tells_files_apart_and_who_signed_it_does_not(
    settings: Settings, here: str, asked: str, same: bool
) -> None:
    url = "https://example.org/get-Q4_0.gguf"
    write_gguf(url_folder(UrlFile(url + here), settings) / "get-Q4_0.gguf")
    assert (find_here(_wanted(url + asked, settings), SHIPPED, settings) is not None) == same


def test_the_same_file_is_known_by_its_checksum_in_ollama_s_blobs(settings: Settings) -> None:
    import json

    assert settings.ollama_models_dir is not None
    content = write_gguf(settings.cache_dir / "x.gguf").read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    blobs = settings.ollama_models_dir / "blobs"
    blobs.mkdir(parents=True)
    (blobs / f"sha256-{digest}").write_bytes(content)
    manifest = settings.ollama_models_dir / "manifests/registry.ollama.ai/library/mine/latest"
    manifest.parent.mkdir(parents=True)
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"}
    manifest.write_text(json.dumps({"layers": [{**layer, "size": len(content)}]}))
    models = find_downloaded(SHIPPED, settings).models

    def package(sha256: str) -> Package:
        checksum = Checksum("sha256", sha256)
        file = RemoteFile("m-Q4_0.gguf", "https://x", len(content), sha256, checksum)
        return Package(HubFile("o/r"), (file,), settings.models_dir / "o" / "r")

    same = find_same(package(digest), models)
    assert same is not None
    assert same.source == "ollama"
    assert find_same(package("0" * 64), models) is None


def _files(*names: str) -> list[RemoteFile]:
    return [RemoteFile(name, "https://x", 1, name) for name in names]


@pytest.mark.parametrize(
    ("model", "projectors", "chosen"),
    [
        ("m-Q4_K_M.gguf", ["mmproj-F32.gguf", "mmproj-F16.gguf", "mmproj-BF16.gguf"], 1),
        ("m-Q4_K_M.gguf", ["mmproj-model-q8_0.gguf", "mmproj-model-other.gguf"], 0),
        ("a/m-Q4_K_M.gguf", ["b/mmproj-F16.gguf", "a/mmproj-F32.gguf"], 1),
        (
            "Qwen-VL-7B-Q4_K_M.gguf",
            ["mmproj-Qwen-VL-3B-f16.gguf", "mmproj-Qwen-VL-7B-Q8_0.gguf"],
            1,
        ),
    ],
)
def test_the_projector_is_the_model_s_own_and_in_half_precision(
    model: str, projectors: list[str], chosen: int
) -> None:
    files = _files(model, *projectors)
    projector, why = choose_projector(files[0], files)
    assert projector == files[1 + chosen]
    assert why == f"one of {len(projectors)} projectors, for images or sound"


def test_most_repositories_have_no_projector() -> None:
    files = _files("m-Q4_K_M.gguf", "README.md")
    assert choose_projector(files[0], files) == (None, "")
