"""Settings, models.toml and variables that nobody reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from localserve.config import Settings, read_settings
from localserve.connect.clients import CLIENTS
from localserve.doctor.configuration import (
    OTHER_VARIABLES,
    check_configuration,
)
from localserve.doctor.finding import Finding
from localserve.doctor.subject import Subject
from tests.planner.recorded import RecordedReadings


@pytest.fixture
def file(settings: Settings) -> Path:
    settings.config_dir.mkdir(parents=True)
    return settings.config_dir / "models.toml"


def examined(settings: Settings, readings: RecordedReadings) -> list[Finding]:
    home = str(settings.home)
    return list(
        check_configuration(
            Subject(read_settings(environ={"LOCALSERVE_HOME": home}), readings, True)
        )
    )


def test_a_good_file_is_counted(settings: Settings, readings: RecordedReadings, file: Path) -> None:
    file.write_text(
        "[settings]\nparallel = 4\n[models.mine]\nrepo = 'a/b'\npattern = 'x.gguf'\n"
        "[routes.auto.models]\nmine = {}\n"
    )
    first = examined(settings, readings)[0]
    assert (first.level, first.message) == ("ok", f"{file}: models: 1, routes: 1, settings: 1")


@pytest.mark.parametrize(
    "text",
    [
        "[models.x]\nfilename = 3\n",
        "[models]\nx = 3\n",
        "[routes.auto]\nby = 'luck'\n",
        "[routes.auto.models]\nx = { up_to = 7 }\n",
    ],
)
def test_a_file_that_a_server_would_refuse_is_a_problem_with_its_line(
    settings: Settings, readings: RecordedReadings, file: Path, text: str
) -> None:
    file.write_text(text)
    first = examined(settings, readings)[0]
    assert first.level == "problem"
    assert "line" in first.message


@pytest.mark.parametrize(
    ("name", "advice", "commands"),
    [
        ("LOCALSERVE_PROT", "Did you mean LOCALSERVE_PORT?", ()),
        ("LOCALSERVE_MODLES_DIR", "Did you mean LOCALSERVE_MODELS_DIR?", ()),
        ("LOCALSERVE_QQQQQQQQQ", None, ("unset LOCALSERVE_QQQQQQQQQ",)),
    ],
)
def test_a_variable_that_nobody_reads_is_a_warning(
    subject: Subject,
    readings: RecordedReadings,
    name: str,
    advice: str | None,
    commands: tuple[str, ...],
) -> None:
    readings.environment = {name: "1", "LOCALSERVE_PORT": "9000", "OTHER": "1"}
    unknown, known = check_configuration(subject)
    assert (unknown.level, unknown.advice, unknown.commands) == ("warning", advice, commands)
    assert name in unknown.message
    assert known.message == "variables: LOCALSERVE_PORT"


def test_variables_of_clients_are_known() -> None:
    of_clients = {name for one in CLIENTS for name in one.environment}
    assert {name for name in of_clients if name.startswith("LOCALSERVE_")} <= set(OTHER_VARIABLES)


def test_secrets_in_variables_are_named_and_not_shown(
    subject: Subject, readings: RecordedReadings
) -> None:
    readings.environment = {"LOCALSERVE_API_KEY": "sk-hidden-hidden-hidden"}
    text = str(list(check_configuration(subject)))
    assert "LOCALSERVE_API_KEY" in text
    assert "hidden" not in text


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"host": "0.0.0.0"}, "no API key"),
        ({"tls_cert": Path("/none.pem")}, "--tls-key"),
        ({"allowed_origins": "nonsense"}, "nonsense"),
        ({"log_bodies": 0.5}, "JSON"),
    ],
)
def test_what_a_start_would_refuse_is_a_problem(
    subject: Subject, changes: dict[str, object], words: str
) -> None:
    wrong = replace(subject, settings=replace(subject.settings, **changes))  # type: ignore[arg-type]
    problems = [one for one in check_configuration(wrong) if one.level == "problem"]
    assert len(problems) == 1
    assert words in problems[0].message
