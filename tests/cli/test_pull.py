"""`localserve pull`, and `up` of a model that is not on this disk, against a hub on localhost."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from localserve.catalog import download as downloading
from localserve.catalog.registry import SHIPPED_FILE, Registry
from localserve.catalog.spec import HubFile, LocalFile, ModelSpec
from localserve.cli import download as command
from localserve.cli import progress
from localserve.cli.download import find_or_download
from localserve.cli.progress import Rate, duration_text
from localserve.config import Settings, read_settings
from localserve.errors import NotDownloaded, UnknownModel
from localserve.planner.hardware import probe
from localserve.planner.readings import Amounts
from tests.catalog.gguf_files import write_gguf
from tests.catalog.hub_server import Hub, serve_hub
from tests.cli.conftest import Run
from tests.planner.recorded import GIB, RecordedReadings

CONTENT = SHIPPED_FILE.with_name("builtin.gguf").read_bytes()
SIZE = f"{len(CONTENT) / 1e6:.1f} MB"
REPO = "owner/tiny-GGUF"
NAME = "tiny-Q4_K_M.gguf"


@pytest.fixture
def hub(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setattr("localserve.catalog.patience.sleep", lambda seconds: None)
    with serve_hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        hub.repositories[REPO] = {NAME: CONTENT, "tiny-Q8_0.gguf": CONTENT}
        yield hub


@pytest.fixture(autouse=True)
def readings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RecordedReadings:
    """A machine with 64 GiB."""
    readings = RecordedReadings(tmp_path / "machine")
    monkeypatch.setattr(command, "probe", lambda settings: probe(settings, readings))
    return readings


def _events(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_it_says_what_comes_and_brings_it(run: Run, hub: Hub, settings: Settings) -> None:
    ran = run("pull", REPO)
    path = settings.models_dir / REPO / NAME
    assert ran.status == 0, ran.err
    assert path.read_bytes() == CONTENT
    lines = ran.out.splitlines()
    assert lines[0] == f"{NAME}: {SIZE} ({len(CONTENT)} bytes)"
    assert "Q4_K_M: the usual compromise" in lines[1]
    assert "fits in RAM" in lines[2]
    assert lines[3].startswith(f"disk: {SIZE} in ")
    assert lines[-2].startswith(f"tiny-Q4_K_M is here ({SIZE})")
    assert lines[-1] == "serve it: localserve up tiny-Q4_K_M"
    assert "\x1b" not in ran.out + ran.err
    assert run("show", "tiny-Q4_K_M").status == 0


def test_without_a_terminal_there_is_a_line_now_and_then(
    run: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_SECONDS", 0)
    lines = [line for line in run("pull", REPO).out.splitlines() if f" of {SIZE} (" in line]
    assert lines[0].startswith(f"0 kB of {SIZE} (0 %)")
    assert lines[-1].startswith(f"{SIZE} of {SIZE} (100 %), ")
    assert lines[-1].endswith("/s, 0:00 left")


def test_on_a_terminal_there_is_one_bar_for_all_files(
    run: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repositories[REPO]["mmproj-F16.gguf"] = b"GGUF" + b"x" * 500_000
    wide = Console(force_terminal=True, width=100)
    for name in ("progress", "download", "pull"):
        monkeypatch.setattr(sys.modules[f"localserve.cli.{name}"], "console", wide)
    out = run("pull", REPO).out
    assert "━" in out
    whole = f"{(len(CONTENT) + 500_004) / 1e6:.1f}"
    assert f"{whole}/{whole} MB" in out
    assert "mmproj-F16" not in out.partition("disk:")[2]


def test_what_is_here_is_not_asked_for_again(run: Run, hub: Hub, settings: Settings) -> None:
    run("pull", REPO)
    hub.requests.clear()
    for text in (REPO, f"{REPO}:q4_k_m", f"hf.co/{REPO}"):
        ran = run("pull", text)
        assert ran.status == 0
        assert "is on this disk already" in ran.out
    assert hub.requests == []
    assert run("pull", f"{REPO}:Q8_0").status == 0
    assert (settings.models_dir / REPO / "tiny-Q8_0.gguf").exists()


def test_another_program_s_copy_is_used_in_place_unless_told_otherwise(
    run: Run, hub: Hub, settings: Settings
) -> None:
    assert settings.lm_studio_models_dir is not None
    path = settings.lm_studio_models_dir / REPO / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    ran = run("pull", REPO)
    assert str(path) in ran.out
    assert "(LM Studio)" in ran.out
    assert "localserve up lm-studio/tiny-Q4_K_M" in ran.out
    assert not settings.models_dir.exists()
    assert run("pull", REPO, "--copy").status == 0
    assert (settings.models_dir / REPO / NAME).read_bytes() == CONTENT


def test_json_is_one_object_a_line_and_the_last_is_the_result(
    run: Run, hub: Hub, settings: Settings
) -> None:
    hub.repositories[REPO]["mmproj-F16.gguf"] = b"GGUF"
    hub.cut_after_bytes = [len(CONTENT), 1_000_000]  # the header comes whole
    ran = run("pull", REPO, "--json")
    plan, *between, result = _events(ran.out)
    total = len(CONTENT) + 4
    assert plan["event"] == "plan"
    assert [file["name"] for file in plan["files"]] == [NAME, "mmproj-F16.gguf"]
    assert (plan["size_bytes"], plan["present_bytes"]) == (total, 0)
    assert plan["memory"]["level"] == "fits"
    steps = [event for event in between if event["event"] == "progress"]
    assert steps[0]["total_bytes"] == total
    assert steps[-1]["done_bytes"] == total
    assert any("trying again" in event.get("message", "") for event in between)
    assert (result["event"], result["status"]) == ("result", "downloaded")
    assert result["path"] == str(settings.models_dir / REPO / NAME)
    assert result["files"][1].endswith("mmproj-F16.gguf")
    (present,) = _events(run("pull", REPO, "--json").out)
    assert (present["status"], present["path"]) == ("present", result["path"])


def test_an_error_is_the_last_line_of_json_too(run: Run, hub: Hub) -> None:
    ran = run("pull", "owner/none", "--json")
    assert ran.status == 1
    (error,) = _events(ran.out)
    assert error["event"] == "error"
    assert error["code"] == "model_unusable"
    assert "no repository owner/none" in error["message"]
    assert "no repository owner/none" in ran.err


def test_a_gated_repository_says_where_to_ask(run: Run, hub: Hub) -> None:
    hub.refuse = (403, "GatedRepo")
    ran = run("pull", REPO)
    assert ran.status == 1
    assert f"Accept them at {hub.url}/{REPO}" in ran.err


def test_a_quantization_that_is_not_offered_names_those_that_are(run: Run, hub: Hub) -> None:
    ran = run("pull", f"{REPO}:Q5_K_M")
    assert ran.status == 1
    assert "It has Q4_K_M, Q8_0." in ran.err


@pytest.fixture
def too_small(readings: RecordedReadings) -> None:
    readings.memory_amounts = Amounts(GIB // 2, GIB // 4)


@pytest.mark.usefixtures("too_small")
def test_what_cannot_run_here_needs_yes(run: Run, hub: Hub, settings: Settings) -> None:
    ran = run("pull", REPO)
    assert ran.status == 1
    assert "this machine has 0 MiB for models: it cannot run here" in ran.err
    assert "--yes" in ran.err
    assert not settings.models_dir.exists()
    assert run("pull", REPO, "--yes").status == 0
    assert (settings.models_dir / REPO / NAME).exists()


@pytest.mark.usefixtures("too_small")
@pytest.mark.parametrize(("answer", "status"), [("y\n", 0), ("n\n", 1), ("\n", 1)])
def test_on_a_terminal_it_asks(
    run: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch, answer: str, status: int
) -> None:
    class Keyboard(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Keyboard(answer))
    ran = run("pull", REPO)
    assert "cannot run on this machine" in ran.out
    assert ran.status == status


def test_offline_it_only_says_whether_it_is_here(run: Run, hub: Hub) -> None:
    ran = run("pull", REPO, "--offline")
    assert ran.status == 1
    assert "the network is not to be used (--offline)" in ran.err
    assert hub.requests == []
    run("pull", REPO)
    hub.requests.clear()
    assert run("pull", REPO, "--offline").status == 0
    assert hub.requests == []


def test_ctrl_c_says_how_to_go_on(run: Run, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(package: object, settings: object, tell: Any) -> None:
        tell(downloading.Progress(1_000_000, 2_000_000))
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "download", interrupted)
    ran = run("pull", REPO)
    assert ran.status == 130
    assert ran.err.strip().endswith(
        f"Stopped. 1.0 MB of 2.0 MB are kept. It goes on with: localserve pull {REPO}"
    )
    (*_, last) = _events(run("pull", REPO, "--json").out)
    assert (last["event"], last["done_bytes"]) == ("interrupted", 1_000_000)


def test_a_partial_download_is_listed_as_one_and_can_be_removed(
    run: Run, hub: Hub, settings: Settings
) -> None:
    hub.cut_after_bytes = [len(CONTENT), 1_000_000, *[0] * 9]
    assert run("pull", REPO).status == 1
    listed = run("list").out
    assert "not usable: its download is not complete" in listed
    assert "tiny-Q4_K_M" in listed
    assert run("rm", "tiny-Q4_K_M", "--yes").status == 0
    assert not list(settings.models_dir.rglob("*.partial"))


def test_the_projector_goes_with_the_last_model_that_can_use_it(
    run: Run, hub: Hub, settings: Settings
) -> None:
    hub.repositories[REPO]["mmproj-F16.gguf"] = b"GGUF"
    run("pull", REPO)
    run("pull", f"{REPO}:Q8_0")
    projector = settings.models_dir / REPO / "mmproj-F16.gguf"
    assert projector.exists()
    assert str(projector) not in run("rm", "tiny-Q8_0", "--yes").out
    assert projector.exists()
    assert str(projector) in run("rm", "tiny-Q4_K_M", "--yes").out
    assert list(settings.models_dir.iterdir()) == []


def test_a_projector_that_was_cut_comes_with_the_next_pull(
    run: Run, hub: Hub, settings: Settings
) -> None:
    projector = b"GGUF" + b"x" * 2_000_000
    hub.repositories[REPO]["mmproj-F16.gguf"] = projector
    hub.cut_after_bytes = [len(CONTENT), len(CONTENT), 1_000_000, *[0] * 9]
    assert run("pull", REPO).status == 1
    assert (settings.models_dir / REPO / NAME).exists()
    hub.cut_after_bytes = []
    assert run("pull", REPO).status == 0
    assert (settings.models_dir / REPO / "mmproj-F16.gguf").read_bytes() == projector
    assert "already" in run("pull", REPO).out


def test_a_model_whose_file_is_given_is_said_to_be_here(run: Run, hub: Hub) -> None:
    ran = run("pull", "localserve-tiny")
    assert ran.status == 0
    assert "is a file of this machine" in ran.out


def test_up_downloads_by_the_same_rules(
    hub: Hub, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = read_settings()
    entry = ModelSpec("mine", HubFile(REPO, "tiny-{quantization}.gguf"), ("me",), parallel=3)
    registry = Registry((entry,))
    spec = find_or_download("mine", registry, settings)
    assert isinstance(spec.source, LocalFile)
    assert spec.source.path.read_bytes() == CONTENT
    assert (spec.name, spec.parallel) == ("mine", 3)
    assert "fits in RAM" in capsys.readouterr().out
    hub.requests.clear()
    assert find_or_download("mine", registry, settings) == spec
    assert hub.requests == []
    other = find_or_download(f"{REPO}:Q8_0", Registry(), settings)
    assert other.name == "tiny-Q8_0"
    again = find_or_download(f"{REPO}:Q8_0", Registry(), settings)
    assert again.source == other.source
    plain = f"{hub.url}/plain/{REPO}/tiny-Q8_0.gguf"
    assert find_or_download(plain, Registry(), settings).source == other.source


def test_up_asks_the_network_for_nothing_that_has_no_such_form(
    hub: Hub, settings: Settings
) -> None:
    with pytest.raises(UnknownModel):
        find_or_download("no-such-model", Registry(), read_settings())
    entry = ModelSpec("mine", HubFile(REPO))
    offline = read_settings({"offline": True})
    with pytest.raises(NotDownloaded):
        find_or_download("mine", Registry((entry,)), offline)
    assert hub.requests == []


def test_the_speed_is_that_of_the_last_seconds() -> None:
    rate = Rate()
    assert rate.bytes_per_second is None
    rate.add(5_000, 0.0)  # was there before
    assert rate.seconds_left(10_000) is None
    rate.add(6_000, 1.0)
    assert rate.bytes_per_second == 1_000
    assert rate.seconds_left(10_000) == 4
    for second in range(2, 30):
        rate.add(6_000, float(second))
    assert rate.bytes_per_second == 0
    assert rate.seconds_left(10_000) is None
    rate.add(100, 31.0)  # it starts again
    assert rate.bytes_per_second is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (69, "1:09"), (3600, "1:00:00"), (7325, "2:02:05")]
)
def test_time_left_is_written_as_people_do(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


def test_a_file_that_only_looks_the_same_is_not_taken(
    run: Run, hub: Hub, settings: Settings
) -> None:
    write_gguf(settings.llama_cache_dir / NAME)
    assert run("pull", REPO).status == 0
    assert (settings.models_dir / REPO / NAME).exists()
