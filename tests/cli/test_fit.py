"""`localserve fit`: what it prints, for people and for programs, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from localserve.catalog.headers import read_local
from localserve.catalog.registry import load_registry
from localserve.cli import fit as command
from localserve.config import DEFAULT_CHECKPOINT_BYTES, Settings
from localserve.gguf.header import parse_file
from localserve.planner import gauge
from localserve.planner import plan as planning
from localserve.planner.bandwidth import Bandwidth, Throughput, machine_key
from localserve.planner.document import catalog_document
from localserve.planner.dry_run import dry_run
from localserve.planner.fit import rank_catalog
from localserve.planner.hardware import probe
from localserve.planner.learned import LoadLesson, learn_answer, learn_load, lesson_of
from localserve.planner.machine import Program, imagined
from localserve.planner.plan import wanted_of
from localserve.planner.sizes import memory_text
from tests.catalog.hub_server import Hub, serve_hub
from tests.cli.conftest import Run
from tests.gguf.projectors import SmallProjector, write_projector
from tests.gguf.small_models import SMALL_MODELS, write_small_model
from tests.planner.real_shapes import SHAPES, write_header
from tests.planner.recorded import GIB, RecordedReadings
from tests.planner.stand_in import counted

BANDWIDTH = Bandwidth(
    ram_bytes_per_second=40e9,
    devices={"CPU": 40e9},
    throughput={"CPU": {"Q4_K": Throughput(40e9, 400e9), "F16": Throughput(40e9, 300e9)}},
    steps={},
    threads=8,
    problems=(),
    measured_at=1.0,
    cached=True,
)
REPOSITORIES = {
    "owner/qwen3-8b-GGUF": ("qwen3-8b", ("Q2_K", "Q4_K_M", "Q8_0", "F16")),
    "owner/gemma-3-12b-GGUF": ("gemma-3-12b", ("Q4_K_M", "Q8_0")),
    "owner/qwen3-30b-a3b-GGUF": ("qwen3-30b-a3b", ("Q4_K_M", "Q6_K", "Q8_0")),
}
DRIED = replace(SHAPES["qwen3-8b"], name="few-words", vocabulary=2_048)
"""What llama.cpp itself is shown: as large, with a vocabulary that takes no time."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Hollow files by name, of the real sizes. But for two they have no vocabulary, which only
    llama.cpp would miss."""
    folder: Path = tmp_path_factory.mktemp("shapes")
    projector = write_projector(folder / "mmproj-F16.gguf", SmallProjector(text_width=3_840))
    dried = [
        write_header(folder / f"{DRIED.name}-{kind}.gguf", DRIED, kind)
        for kind in ("Q2_K", "Q4_K_M")
    ]
    others = [
        write_header(folder / f"{name}-{kind}.gguf", SHAPES[name], kind, words=False)
        for name, kinds in REPOSITORIES.values()
        for kind in kinds
    ]
    return {path.name: path for path in (projector, *dried, *others)}


@pytest.fixture
def hub(
    files: dict[str, Path], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Hub]:
    """A hub with repositories of headers whose files claim their real sizes."""
    with serve_hub() as hub:
        dried = {"owner/few-words-GGUF": (DRIED.name, ("Q2_K", "Q4_K_M"))}
        for repo, (name, kinds) in (REPOSITORIES | dried).items():
            names = [f"{name}-{kind}.gguf" for kind in kinds]
            hub.repositories[repo] = {one: parse_file(files[one]).raw for one in names}
            hub.sizes |= {one: files[one].stat().st_size for one in names}
        projector = files["mmproj-F16.gguf"].read_bytes()
        hub.repositories["owner/gemma-3-12b-GGUF"]["mmproj-F16.gguf"] = projector
        hub.repositories["owner/empty-GGUF"] = {"README.md": b"read"}
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture(autouse=True)
def readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordedReadings:
    """A machine without a GPU, with 48 of 64 GiB available, that was measured before."""
    readings = RecordedReadings(tmp_path / "machine")
    monkeypatch.setattr(command, "probe", lambda settings: probe(settings, readings))
    monkeypatch.setattr(command, "measure_bandwidth", lambda *_, **__: BANDWIDTH)
    monkeypatch.setattr(command, "big_programs", lambda: (Program("browser", 30 * GIB),))
    return readings


@pytest.fixture(autouse=True)
def _stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for llama.cpp, but where a test asks for it."""
    monkeypatch.setattr(gauge, "dry_run", counted)


@pytest.fixture
def llama_cpp(_stand_in: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """llama.cpp itself counts, in its child process."""
    monkeypatch.setattr(gauge, "dry_run", dry_run)


def asked(run: Run, *arguments: str, status: int = 0) -> Any:
    ran = run("fit", *arguments, "--json")
    assert ran.status == status, ran
    return json.loads(ran.out)


def by_name(document: Any) -> dict[str, Any]:
    return {one["quantization"]: one for one in document["quantizations"]}


def test_a_repository_is_planned_and_the_best_quick_enough_is_picked(run: Run, hub: Hub) -> None:
    ran = run("fit", "owner/qwen3-8b-GGUF", "--gpu", "12GiB", "--ram", "32GiB")
    assert ran.status == 0
    lines = ran.out.splitlines()
    assert lines[0].startswith("owner/qwen3-8b-GGUF: qwen3, 8.2 B parameters, trained for 40960")
    table = [line for line in lines if " yes " in line]
    assert [line.removeprefix(">").split()[0] for line in table] == [
        "F16",
        "Q8_0",
        "Q4_K_M",
        "Q2_K",
    ]
    assert [line for line in lines if line.startswith(">")] == [table[1]]
    assert "GPU0" in ran.out
    assert "It fits: Q8_0 in GPU" in ran.out
    assert "\x1b" not in ran.out


@pytest.mark.parametrize(
    ("repo", "gpu"),
    [
        ("owner/qwen3-8b-GGUF", "10GiB"),
        ("owner/gemma-3-12b-GGUF", "14GiB"),
        ("owner/qwen3-30b-a3b-GGUF", "24GiB"),
    ],
)
def test_where_there_is_a_trade_the_frontier_shows_it(
    run: Run, hub: Hub, repo: str, gpu: str
) -> None:
    points = asked(run, repo, "--gpu", gpu, "--ram", "64GiB")["frontier"]
    kinds = {point["quantization"] for point in points}
    contexts = {point["context_tokens"] for point in points}
    assert len(kinds) > 1
    assert len(contexts) > 1
    for point in points:  # none has more of one thing without less of another
        for other in points:
            better = [
                other[key] >= point[key] for key in ("context_tokens", "decode_tokens_per_second")
            ]
            if other["quantization"] == point["quantization"] and other is not point:
                assert better != [True, True]
    shown = run("fit", repo, "--gpu", gpu, "--ram", "64GiB").out
    assert "tokens/s by quantization and context" in shown
    assert shown.count("*") > len(points) // 2


def test_json_says_what_is_taken_and_what_would_be_served(run: Run, hub: Hub) -> None:
    document = asked(run, "owner/qwen3-8b-GGUF:q4_k_m", "--parallel", "2")
    assert (document["fits"], document["picked"], document["where"]) == (True, "Q4_K_M", "RAM")
    memory = document["memory"]
    parts = ("weights_bytes", "kv_bytes", "compute_bytes")
    assert memory["total_bytes"] == sum(memory[part] for part in parts)
    assert memory["kv_bytes"] == 16_384 * 36 * 2 * 1_024 * 2  # about half of the weights
    assert memory["output_bytes"] == 4 * 151_936 * (4 + 63)
    (ram,) = memory["devices"]
    assert ram["needed_bytes"] > memory["total_bytes"] + memory["output_bytes"]
    assert document["runtime"] == {
        "context_tokens": 16_384,
        "parallel": 2,
        "sequences": 4,
        "cache_type_k": "f16",
        "cache_type_v": "f16",
        "gpu_layers": 0,
        "cpu_moe_layers": 0,
        "tensor_split": [],
        "n_batch": 512,
        "n_ubatch": 512,
        "n_outputs_max": 4 + 63,
        "swa_full": False,
        "load_mode": "none",
        "kv_unified": True,
        "flash_attn": "auto",
        "pooling": None,
    }
    assert document["speed"]["calibrated_by_answers"] == 0
    assert by_name(document).keys() == {"Q2_K", "Q4_K_M", "Q8_0", "F16"}


@pytest.mark.usefixtures("llama_cpp")
def test_one_dry_run_serves_all_quantizations(run: Run, hub: Hub, files: dict[str, Path]) -> None:
    together = by_name(asked(run, "owner/few-words-GGUF", "--ctx", "4096"))
    for kind in ("Q4_K_M", "Q2_K"):
        alone = asked(run, str(files[f"few-words-{kind}.gguf"]), "--ctx", "4096")
        for part in ("kv_bytes", "compute_bytes", "output_bytes", "total_bytes"):
            assert together[kind]["memory"][part] == pytest.approx(alone["memory"][part], rel=1e-3)


def test_what_does_not_fit_ends_with_1_and_says_what_would(
    run: Run, hub: Hub, readings: RecordedReadings, files: dict[str, Path]
) -> None:
    readings.write(
        "/proc/meminfo", f"MemTotal: {16 * GIB >> 10} kB\nMemAvailable: {7 * GIB >> 10} kB"
    )
    path = str(files["qwen3-8b-Q4_K_M.gguf"])
    ran = run("fit", path, "--ctx", "32768")
    assert ran.status == 1
    assert "Q4_K_M does not fit: RAM is" in ran.out
    assert "--ctx" in ran.out
    assert "browser has 30.0 GiB of RAM" in ran.out
    assert "closing browser, which has memory of RAM, would fit" in ran.out
    changes = asked(run, path, "--ctx", "32768", status=1)["explanation"]["changes"]
    (change,) = [one for one in changes if one["kind"] == "context"]
    tokens = str(change["plan"]["context_tokens"])
    assert asked(run, path, "--ctx", tokens)["fits"]


def test_a_quantization_that_fits_is_told_of_where_the_asked_one_does_not(
    run: Run, hub: Hub
) -> None:
    document = asked(run, "owner/qwen3-8b-GGUF:F16", "--ram", "14GiB", status=1)
    assert (document["quantization"], document["picked"]) == ("F16", None)
    kinds = [change["kind"] for change in document["explanation"]["changes"]]
    assert kinds[-1] == "quantization"


def test_headers_are_fetched_once(run: Run, hub: Hub) -> None:
    asked(run, "owner/gemma-3-12b-GGUF", "--ram", "64GiB")
    hub.requests.clear()
    asked(run, "owner/gemma-3-12b-GGUF", "--ram", "64GiB")
    assert [line for line in hub.requests if "/resolve/" in line] == []


def test_the_catalog_is_ranked_without_any_network(run: Run) -> None:
    ran = run("fit")
    assert ran.status == 0
    assert "qwen3-8b" in ran.out
    models = asked(run)["models"]
    fitting = [one["fits"] for one in models]
    assert fitting == sorted(fitting, reverse=True)
    assert {one["model"] for one in models} >= {"qwen3-8b", "gpt-oss-120b", "llama-3.1-8b"}


def test_offline_the_catalogs_numbers_stand_in_for_a_header(run: Run) -> None:
    ran = run("fit", "qwen3-8b", "--offline")
    assert ran.status == 0
    assert "estimated from the catalog's sizes" in ran.out
    (model,) = asked(run, "qwen3:8b", "--offline")["models"]
    assert (model["model"], model["fits"]) == ("qwen3-8b", True)


def test_a_name_of_which_one_quantization_is_here_shows_the_others_too(
    run: Run, files: dict[str, Path], settings: Settings
) -> None:
    folder = settings.models_dir / "Qwen" / "Qwen3-8B-GGUF"
    folder.mkdir(parents=True)
    for kind in ("Q4_K_M", "Q8_0"):
        (folder / f"Qwen3-8B-{kind}.gguf").hardlink_to(files[f"qwen3-8b-{kind}.gguf"])
    machine = ("--gpu", "24GiB", "--ram", "32GiB")
    document = asked(run, "qwen3-8b", *machine)
    assert (document["model"], document["picked"]) == ("qwen3-8b", "Q4_K_M")  # as `up` takes
    elsewhere = {name: one["elsewhere"] for name, one in by_name(document).items()}
    assert elsewhere.keys() == {"Q4_K_M", "Q5_K_M", "Q6_K", "Q8_0"}
    assert [name for name, away in elsewhere.items() if not away] == ["Q8_0", "Q4_K_M"]
    sizes = [one["size_bytes"] for one in document["quantizations"]]
    assert sizes == sorted(sizes, reverse=True)
    ran = run("fit", "qwen3-8b", *machine)
    lines = [line.removeprefix(">").split() for line in ran.out.splitlines() if " yes " in line]
    assert [cells[0] for cells in lines if cells.count("yes") == 2] == ["Q8_0", "Q4_K_M"]
    assert "pull" not in ran.out  # the best one is here
    (folder / "Qwen3-8B-Q8_0.gguf").unlink()
    assert "Q8_0 would be the better choice: localserve pull qwen3-8b:Q8_0" in (
        run("fit", "qwen3-8b", *machine).out
    )
    path = str(folder / "Qwen3-8B-Q4_K_M.gguf")  # a path means this file
    assert by_name(asked(run, path, *machine)).keys() == {"Q4_K_M"}


def test_nothing_fits_a_machine_of_half_a_gigabyte(run: Run) -> None:
    assert run("fit", "--ram", "512MB").status == 1


def test_what_was_learned_counts_and_is_said(
    run: Run, files: dict[str, Path], settings: Settings, readings: RecordedReadings
) -> None:
    path = str(files["qwen3-8b-Q4_K_M.gguf"])
    before = asked(run, path)
    key = machine_key(probe(settings, readings), BANDWIDTH.threads)
    facts = read_local(files["qwen3-8b-Q4_K_M.gguf"]).facts
    learn_answer(settings, lesson_of(facts, key, "CPU", decode=2.0, prompt=1.0))
    learn_load(settings, "qwen3", "CPU", LoadLesson(1_000, 1_100))
    after = asked(run, path)
    rates = [one["speed"]["decode_tokens_per_second"] for one in (before, after)]
    assert rates[1] == pytest.approx(rates[0] / 2)
    assert after["headroom_bytes"] < before["headroom_bytes"]
    assert "calibrated by 1 answer)" in run("fit", path).out
    (token, decode) = (after["speed"]["token_seconds"], rates[1])
    assert sum(token.values()) == pytest.approx(1 / decode)
    other = run("fit", str(files["qwen3-8b-Q8_0.gguf"])).out
    assert "each token: " in other
    assert "in part calibrated by 1 answer of models alike)" in other


def test_a_projector_counts_where_it_is_asked_for(run: Run, hub: Hub) -> None:
    question = ("owner/gemma-3-12b-GGUF:Q4_K_M", "--ram", "64GiB")
    without = asked(run, *question)
    assert without["projector"]["counted"] is False
    assert without["memory"]["mmproj_bytes"] == 0
    assert "not counted: mmproj-F16.gguf" in run("fit", *question).out
    counted = asked(run, *question, "--mmproj")
    beside = counted["memory"]["mmproj_bytes"]
    assert beside > 0
    assert counted["explanation"]["terms"]["mmproj"] == beside
    assert counted["headroom_bytes"] == without["headroom_bytes"] - beside
    assert counted["memory"]["total_bytes"] == without["memory"]["total_bytes"]
    shown = run("fit", *question, "--mmproj").out
    assert f"projector {memory_text(beside)}" in shown
    assert "not counted" not in shown


def test_checkpoints_of_sliding_windows_have_room_in_ram(
    run: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo = "owner/gemma-3-12b-GGUF:Q4_K_M"
    kept = asked(run, repo, "--ram", "64GiB")["memory"]
    assert kept["checkpoint_bytes"] == DEFAULT_CHECKPOINT_BYTES
    assert "checkpoints 512 MiB" in run("fit", repo, "--ram", "64GiB").out
    monkeypatch.setenv("LOCALSERVE_CHECKPOINT_BYTES", "0")
    none = asked(run, repo, "--ram", "64GiB")["memory"]
    assert none["checkpoint_bytes"] == 0
    (with_room,), (without,) = kept["devices"], none["devices"]
    assert with_room["needed_bytes"] - without["needed_bytes"] == DEFAULT_CHECKPOINT_BYTES
    assert kept["total_bytes"] == none["total_bytes"]


def test_a_draft_counts_with_its_cache_at_the_same_context(
    run: Run, hub: Hub, files: dict[str, Path]
) -> None:
    question = ("owner/qwen3-8b-GGUF:Q4_K_M", "--ram", "64GiB")
    small = str(files["qwen3-8b-Q2_K.gguf"])
    takes = [
        asked(run, *question, "--draft", small, "--ctx", ctx)["memory"]["draft_bytes"]
        for ctx in ("4096", "8192")
    ]
    cache_of_4096 = 36 * 4_096 * 2 * 8 * 128 * 2
    assert takes[1] - takes[0] == pytest.approx(cache_of_4096, rel=0.01)
    assert "draft" in asked(run, *question, "--draft", small)["explanation"]["terms"]
    named = asked(run, *question, "--draft", "owner/qwen3-8b-GGUF:Q2_K", "--ctx", "4096")
    assert named["memory"]["draft_bytes"] == takes[0]


def test_what_models_toml_names_beside_a_model_counts(
    run: Run, files: dict[str, Path], settings: Settings, tmp_path: Path
) -> None:
    config = tmp_path / "models.toml"
    config.write_text(
        f'[models.seeing]\nfile = "{files["qwen3-8b-Q4_K_M.gguf"]}"\n'
        f'mmproj = "{files["mmproj-F16.gguf"]}"\ndraft = "small"\n'
        f'[models.small]\nfile = "{files["qwen3-8b-Q2_K.gguf"]}"\n'
    )
    document = asked(run, "seeing", "--config", str(config), "--ram", "64GiB")
    assert document["memory"]["mmproj_bytes"] > 0
    assert document["memory"]["draft_bytes"] > 3e9
    beside = document["memory"]["devices"][0]["beside_bytes"]
    assert beside == document["memory"]["mmproj_bytes"] + document["memory"]["draft_bytes"]


def test_companions_that_cannot_be_are_refused(
    run: Run, hub: Hub, files: dict[str, Path], tmp_path: Path
) -> None:
    path = str(files["gemma-3-12b-Q8_0.gguf"])
    other = str(files["qwen3-8b-Q2_K.gguf"])
    assert "vocabularies differ" in refused(run, path, "--ram", "64GiB", "--draft", other)
    assert "about one model" in refused(run, "--mmproj")
    lonely = tmp_path / "lonely.gguf"
    lonely.hardlink_to(other)
    assert "no projector (mmproj) beside" in refused(run, str(lonely), "--mmproj")
    assert "does not exist here" in refused(run, other, "--draft", "no-such-model")
    # the catalog's numbers, which stand in for a header offline, have no companions
    for option in (["--mmproj"], ["--draft", other]):
        assert "not on this disk" in refused(run, "qwen3-4b", "--offline", *option)


# What cannot be answered: status 2, one message with numbers


def refused(run: Run, *arguments: str) -> str:
    ran = run("fit", *arguments)
    assert (ran.status, ran.out) == (2, ""), ran
    assert ran.err.startswith("error ")
    return ran.err


def test_a_repository_without_ggufs(run: Run, hub: Hub) -> None:
    assert "no GGUF file" in refused(run, "owner/empty-GGUF")


def test_a_repository_that_is_not_there_or_gated(run: Run, hub: Hub) -> None:
    assert "private" in refused(run, "owner/nothing")
    hub.refuse = (403, "GatedRepo")
    assert "Accept them at" in refused(run, "owner/qwen3-8b-GGUF")


def test_a_quantization_that_the_repository_has_not(run: Run, hub: Hub) -> None:
    said = refused(run, "owner/qwen3-8b-GGUF:Q5_K_M")
    assert "no quantization Q5_K_M" in said
    assert "F16, Q2_K, Q4_K_M, Q8_0" in said


def test_a_context_beyond_the_models(run: Run, files: dict[str, Path]) -> None:
    said = refused(run, str(files["qwen3-8b-Q4_K_M.gguf"]), "--ctx", "50000")
    assert "40960" in said
    assert "50000" in said


def test_a_file_that_is_cut_noise_or_only_words(
    run: Run, files: dict[str, Path], tmp_path: Path
) -> None:
    whole = files["qwen3-8b-Q4_K_M.gguf"]
    cut = tmp_path / "cut.gguf"
    header = parse_file(whole).raw
    for length in (0, 3, 100, len(header) // 2, len(header)):
        cut.write_bytes(header[:length])
        assert "cut.gguf" in refused(run, str(cut))
    noise = tmp_path / "noise.gguf"
    noise.write_bytes(bytes(range(256)) * 16)
    assert "not a GGUF file" in refused(run, str(noise))


def test_sizes_without_a_unit_and_unknown_names(run: Run) -> None:
    assert "such as --gpu 24GB" in refused(run, "x", "--gpu", "24").lower().replace("gb", "GB")
    assert "does not exist here" in refused(run, "no-such-model")
    assert "f16, bf16, q8_0" in refused(run, "x", "--cache-type-k", "q9")


def test_programs_get_errors_as_json(run: Run) -> None:
    told = asked(run, "no-such-model", status=2)["error"]
    assert told["code"] == "model_not_found"
    assert told["hint"]


def test_offline_no_repository_is_asked(run: Run, hub: Hub) -> None:
    refused(run, "owner/qwen3-8b-GGUF", "--offline")
    assert hub.requests == []


def test_a_path_that_looks_like_a_repository_is_the_path(
    run: Run, hub: Hub, files: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "model.gguf").hardlink_to(files["qwen3-8b-Q4_K_M.gguf"])
    monkeypatch.chdir(tmp_path)
    assert asked(run, "owner/model.gguf", "--ram", "64GiB")["model"] == "model"
    assert hub.requests == []


def test_the_default_context_is_that_of_up() -> None:
    assert planning.DEFAULT_CONTEXT_TOKENS == 8_192


def test_a_model_that_makes_vectors_is_planned_for_texts(run: Run, tmp_path: Path) -> None:
    path = write_small_model(tmp_path / "encoder.gguf", SMALL_MODELS["bert"])
    ran = run("fit", str(path))
    assert ran.status == 0, ran
    assert "vectors of texts of up to 512 tokens, 64 at once, pooled by mean" in ran.out
    assert "first token" not in ran.out
    document = asked(run, str(path))
    assert document["runtime"]["pooling"] == "mean"
    assert document["memory"]["output_bytes"] == 4 * 512 * (512 + 64)


def test_a_bound_on_the_memory_of_models_bounds_the_plan(
    run: Run, monkeypatch: pytest.MonkeyPatch, hub: Hub
) -> None:
    monkeypatch.setenv("LOCALSERVE_MODEL_RAM_BYTES", str(4 * GIB))
    document = asked(run, "owner/qwen3-8b-GGUF", status=1)
    assert document["picked"] is None
    (ram,) = document["machine"]["places"]
    assert ram["room_bytes"] == 4 * GIB + (256 << 20)
    assert "program" not in {change["kind"] for change in document["explanation"]["changes"]}
    told = run("fit", "owner/qwen3-8b-GGUF").out
    assert "LOCALSERVE_MODEL_RAM_BYTES leaves models 4.0 GiB of RAM" in told
    elsewhere = asked(run, "owner/qwen3-8b-GGUF", "--ram", "64GiB")
    assert elsewhere["picked"] is not None  # a bound of this machine


def test_of_another_machine_usual_rates_are_assumed(run: Run, settings: Settings) -> None:
    machine = imagined((24 * GIB,), 64 * GIB)
    plans = rank_catalog(load_registry(settings), wanted_of(settings), machine)
    document = asked(run, "--gpu", "24GiB", "--ram", "64GiB")
    assert document == json.loads(json.dumps(catalog_document(plans, machine)))


def test_a_quantization_of_several_models_is_refused_with_their_names(run: Run, hub: Hub) -> None:
    files = hub.repositories["owner/qwen3-8b-GGUF"]
    name = next(name for name in files if "Q8_0" in name)
    hub.repositories["owner/two"] = {"Alpha-8B-Q8_0.gguf": files[name], "Beta-8B-Q8_0.gguf": b"x"}
    ran = run("fit", "owner/two:Q8_0", "--ram", "64GiB")
    assert ran.status == 2
    told = " ".join(ran.err.split())
    assert "2 models of Q8_0: Alpha-8B-Q8_0.gguf, Beta-8B-Q8_0.gguf" in told
    assert "owner/two/resolve/main/FILE" in told
    assert run("fit", "owner/two", "--ram", "64GiB").status == 2
