"""models.toml: what an entry may say, and errors that name the line."""

from __future__ import annotations

from pathlib import Path

import pytest

from localserve.catalog.registry import Registry, load_registry, read_registry
from localserve.catalog.spec import HubFile, LocalFile, ModelSpec, Shape
from localserve.chat import Sampling
from localserve.config import read_settings
from localserve.errors import ConfigInvalid

FULL = """\
[models."Big-One"]
repo = "owner/Big-One-GGUF"
pattern = "Big-One-{quantization}.gguf"
aliases = ["big:1", "b1"]
kind = "completion"
pooling = "cls"
context = 16384
parallel = 3
max_tokens = 100
template = '''
{{ messages }}'''
verified = true
sampling = { temperature = 0, top_k = 20 }

[models."Big-One".shape]
parameters = 1000
layers = 2
embedding_length = 64
heads = 4
kv_heads = 2
vocabulary = 300
trained_context = 32768

[models."Big-One".quantizations]
Q4_K_M = 600
Q8_0 = 1000
"""
SHAPE = """[models.m.shape]
layers = 2
heads = 4
parameters = 1000
embedding_length = 64
kv_heads = 2
vocabulary = 300
trained_context = 32768
"""


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "models.toml"
    path.write_text(text)
    return path


def _read(tmp_path: Path, text: str, base: Registry | None = None) -> Registry:
    return read_registry(_write(tmp_path, text), base=base)


def test_every_key_of_an_entry_arrives(tmp_path: Path) -> None:
    (spec,) = _read(tmp_path, FULL)
    assert spec == ModelSpec(
        name="Big-One",
        source=HubFile("owner/Big-One-GGUF", "Big-One-{quantization}.gguf"),
        aliases=("big:1", "b1"),
        kind="completion",
        pooling="cls",
        context_tokens=16384,
        parallel=3,
        max_tokens=100,
        sampling=Sampling(temperature=0, top_k=20),
        chat_template="{{ messages }}",
        shape=Shape(1000, 1000, 2, 64, 4, 2, 16, 300, 32768),
        quantizations={"Q4_K_M": 600, "Q8_0": 1000},
        verified=True,
    )


def test_names_and_aliases_are_found_in_any_case(tmp_path: Path) -> None:
    registry = _read(tmp_path, FULL)
    (spec,) = registry
    assert registry.find("BIG-one") is registry.find("B1") is spec
    assert registry.find("big") is None


def test_the_nearest_names_come_first_and_each_model_once(tmp_path: Path) -> None:
    text = "\n".join(
        f"[models.'{name}']\nrepo='o/r'\naliases=['{name}:latest']"
        for name in ("qwen3-8b", "qwen3-4b", "gemma-3-4b", "phi-4")
    )
    registry = _read(tmp_path, text)
    assert (
        registry.nearest("qwen38b")
        == ("qwen3-8b", "qwen3-4b", "gemma-3-4b")[: len(registry.nearest("qwen38b"))]
    )
    assert registry.nearest("QWEN3-8", 1) == ("qwen3-8b",)
    assert registry.nearest("zzzz") == ()


def test_files_and_templates_start_at_the_folder_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    (tmp_path / "t.jinja").write_text("{{ bos_token }}")
    (spec,) = _read(tmp_path, "[models.m]\nfile = 'm.gguf'\ntemplate_file = 't.jinja'\n")
    assert spec.source == LocalFile(tmp_path / "m.gguf")
    assert spec.chat_template == "{{ bos_token }}"


def test_an_entry_without_a_source_changes_the_one_of_that_name_or_alias(tmp_path: Path) -> None:
    shipped = _read(tmp_path, FULL + "\n[models.other]\nrepo = 'o/other'\n")
    text = "[models.'BIG:1']\ncontext = 4096\n[models.'big:1'.sampling]\ntop_p = 0.5\n"
    user = _read(tmp_path, text.replace("BIG:1", "big:1"), shipped)
    merged = shipped.merged(user)
    big = merged.find("big-one")
    assert big is not None
    assert (big.name, big.context_tokens, big.parallel) == ("Big-One", 4096, 3)
    assert big.sampling == Sampling(temperature=0, top_k=20, top_p=0.5)
    assert sorted(spec.name for spec in merged) == ["Big-One", "other"]
    before = shipped.find("b1")
    assert before is not None
    assert before.context_tokens == 16384


def test_an_entry_with_a_source_of_its_own_takes_the_name_and_nothing_else(tmp_path: Path) -> None:
    shipped = _read(tmp_path, FULL)
    user = _read(tmp_path, "[models.'b1']\nrepo = 'me/mine'\n", shipped)
    merged = shipped.merged(user)
    mine, big = merged.find("B1"), merged.find("big-one")
    assert mine == ModelSpec("b1", HubFile("me/mine"))
    assert big is not None
    assert big.aliases == ("big:1",)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        (
            "[models.m]\nrepo='o/r'\ncontxt = 1\n",
            3,
            "'models.m.contxt' is unknown. Did you mean 'c",
        ),
        (
            "[models.m]\nrepo='o/r'\n[models.m.sampling]\n\ntemprature = 1\n",
            5,
            "Did you mean 'temperature'?",
        ),
        ("[models.m]\nrepo='o/r'\nsampling = { zzz = 1 }\n", 3, "Known here: frequency_penalty,"),
        ("[models.m]\nrepo='o/r'\ncontext = '8k'\n", 3, "context is '8k': input should be a valid"),
        ("[models.m]\nrepo='o/r'\ncontext = 1\n", 3, "context is 1: input should be greater"),
        ("[models.m]\nrepo='o/r'\nsampling = 3\n", 3, "'sampling' must be a table"),
        ("[models.m]\nrepo='o/r'\nsampling.top_p = 1.5\n", 3, "sampling.top_p is 1.5"),
        ("[models.m]\nrepo='o/r'\naliases = [\n'a',\n3]\n", 3, "aliases is 3"),
        ("[models.m]\nrepo='o/r'\naliases = ['a b']\n", 3, "aliases is 'a b'"),
        ("[models.m]\nrepo='o/r'\nkind = 'chatty'\n", 3, "kind is 'chatty'"),
        ("[models.m]\nrepo='o/r'\npooling = 'max'\n", 3, "pooling is 'max'"),
        ("[models.m]\nrepo='nonsense'\n", 2, "repo is 'nonsense'"),
        ("[models.m]\nrepo='../..'\n", 2, "repo is '../..'"),
        (
            "[models.m]\nrepo='o/r'\n[models.m.shape]\nlayers = 2\n",
            3,
            "'shape.parameters' is missi",
        ),
        (
            f"[models.m]\nrepo='o/r'\n{SHAPE.replace('layers = 2', 'layers = 3000000')}",
            4,
            "shape.layers is 3000000: input should be less than or equal to 512",
        ),
        (
            f"[models.m]\nrepo='o/r'\n{SHAPE.replace('heads = 4', 'heads = 4294967296')}",
            5,
            "shape.heads is 4294967296: input should be less than 4294967296",
        ),
        (
            "[models.m]\nrepo='o/r'\nquantizations.Q8_0 = 9223372036854775807\n",
            3,
            "quantizations.Q8_0 is 9223372036854775807",
        ),
        ("[models.m]\nrepo='o/r'\nquantizations.Q8_0 = 0\n", 3, "quantizations.Q8_0 is 0"),
        ("\n[models.m]\ncontext = 512\n", 2, "the model 'm' needs 'file', 'repo' or 'engine'"),
        ("[models.m]\nfile='x'\nrepo='o/r'\n", 3, "either 'file' or 'repo'"),
        ("[models.m]\nfile='none.gguf'\n", 2, "none.gguf of the model 'm' does not exist"),
        ("[models.m]\npattern='x'\n", 2, "'pattern' needs 'repo'"),
        ("[models.m]\nrepo='o/r'\ntemplate_file='no.jinja'\n", 3, "no.jinja cannot be read"),
        ("[models.m]\nrepo='o/r'\ntemplate='a'\ntemplate_file='b'\n", 4, "either 'template' or"),
        ("[models.'a b']\nrepo='o/r'\n", 1, "the name 'a b' must be one word"),
        ("[models]\nm = 3\n", 2, "'m' must be a table"),
        (
            "[models.m]\nrepo='o/r'\n[models.M]\nrepo='o/r'\n",
            3,
            "'M' is taken by the model of line 1",
        ),
        (
            "[models.m]\nrepo='o/r'\n[models.n]\nrepo='o/r'\naliases=['M']\n",
            5,
            "'M' is taken by the model of line 1",
        ),
        ("[models.m]\nrepo='o/r'\naliases=['M']\n", 3, "has an alias twice"),
        ("[models.m]\nrepo=\n", 2, "Invalid value"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_line(
    tmp_path: Path, text: str, line: int, words: str
) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        _read(tmp_path, text)
    assert f"models.toml line {line}: " in caught.value.message
    assert words in str(caught.value)


def test_an_empty_template_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.jinja").write_text(" \n")
    with pytest.raises(ConfigInvalid, match=r"line 3: the template .* has 2 bytes"):
        _read(tmp_path, "[models.m]\nrepo='o/r'\ntemplate_file='t.jinja'\n")


def test_a_broken_file_leaves_the_registry_that_was_read_before_usable(tmp_path: Path) -> None:
    path = _write(tmp_path, "[models.mine]\nrepo = 'me/mine'\n")
    settings = read_settings({"config_file": path}, {"LOCALSERVE_HOME": str(tmp_path)})
    first = load_registry(settings)
    path.write_text("[models.mine]\nrepo = \n")
    with pytest.raises(ConfigInvalid, match="line 2"):
        load_registry(settings)
    assert first.find("mine") is not None
    path.write_text("[models.yours]\nrepo = 'me/yours'\n")
    second = load_registry(settings)
    assert second.find("mine") is None
    assert second.find("yours") is not None
    assert first.find("yours") is None


def test_companions_are_files_or_names_of_other_entries(tmp_path: Path) -> None:
    for name in ("mmproj.gguf", "small.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    user = tmp_path / "models.toml"
    user.write_text(
        '[models.a]\nrepo = "o/a"\nmmproj = "mmproj.gguf"\ndraft = "small.gguf"\n'
        '[models.b]\nrepo = "o/b"\ndraft = "A"\n'
        '[models.c]\nrepo = "o/c"\ndraft = "shipped"\n'
    )
    a, b, c = read_registry(user, base=Registry((ModelSpec("shipped", HubFile("o/s")),)))
    assert a.projector == tmp_path / "mmproj.gguf"
    assert a.draft == str(tmp_path / "small.gguf")
    assert (b.projector, b.draft, c.draft) == (None, "A", "shipped")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('draft = "nobody"', "no model is called 'nobody'"),
        ('draft = "MINE"', "cannot be its own draft"),
        ('draft = "./missing.gguf"', "missing.gguf does not exist"),
        ('mmproj = "missing.gguf"', "missing.gguf does not exist"),
        ("draft = true", "draft is True"),
    ],
)
def test_companions_that_are_not_there_are_refused_with_their_line(
    tmp_path: Path, line: str, told: str
) -> None:
    user = tmp_path / "models.toml"
    user.write_text(f'[models.mine]\nrepo = "o/a"\n{line}\n')
    with pytest.raises(ConfigInvalid, match=r"models\.toml line 3") as caught:
        read_registry(user)
    assert told in caught.value.message
