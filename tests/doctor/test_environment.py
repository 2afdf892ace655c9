"""Python, its environment and the packages."""

from __future__ import annotations

import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError

import pytest
from packaging.requirements import Requirement

from localserve.doctor import environment
from localserve.doctor.environment import check_environment, package_problem
from localserve.doctor.finding import Finding
from localserve.doctor.subject import Subject
from tests.planner.recorded import RecordedReadings

VERSIONS = {"localserve": "9.9", "numpy": "2.3.1", "typer": "0.25"}


@pytest.fixture(autouse=True)
def _installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment with three packages."""

    def version_of(name: str) -> str:
        if name not in VERSIONS:
            raise PackageNotFoundError(name)
        return VERSIONS[name]

    wanted = ["numpy>=2.0", "typer>=0.20", 'redis>=6.2; extra == "redis"']
    monkeypatch.setattr(environment, "version", version_of)
    monkeypatch.setattr(environment, "requires", lambda name: wanted)
    monkeypatch.setattr(sys, "prefix", "/env")
    monkeypatch.setattr(sys, "executable", "/env/bin/python")


def found(subject: Subject) -> list[Finding]:
    return list(check_environment(subject))


def test_a_healthy_environment_is_told_in_three_lines(subject: Subject) -> None:
    lines = found(subject)
    assert [one.level for one in lines] == ["ok"] * 3
    assert "/env/bin/python" in lines[0].message
    assert lines[1].message == "virtual environment /env"
    assert lines[2].message == "localserve 9.9, with all 2 packages it needs"


def test_a_package_out_of_its_range_comes_with_the_command_that_mends_it(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        environment, "requires", lambda name: ["numpy>=2.5", "uvicorn[standard]>=1"]
    )
    _, _, old, missing = found(subject)
    assert (old.level, old.message) == ("problem", "numpy is 2.3.1; localserve needs >=2.5")
    assert old.commands == ('/env/bin/python -m pip install "numpy>=2.5"',)
    assert missing.message == "the package uvicorn is missing"
    assert missing.commands == ('/env/bin/python -m pip install "uvicorn[standard]>=1"',)


def test_an_environment_without_pip_is_mended_by_uv(
    subject: Subject, readings: RecordedReadings, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings.modules.clear()
    monkeypatch.setattr(environment, "requires", lambda name: ["numpy>=2.5"])
    assert found(subject)[2].commands == ('uv pip install --python /env/bin/python "numpy>=2.5"',)


@pytest.mark.parametrize(
    ("wanted", "problem"),
    [
        ("numpy>=2.0", None),
        ("numpy", None),
        ("numpy>=2.0,<2.3", "numpy is 2.3.1; localserve needs <2.3,>=2.0"),
        ("Absent", "the package Absent is missing"),
    ],
)
def test_a_version_is_held_against_its_bounds(wanted: str, problem: str | None) -> None:
    assert package_problem(Requirement(wanted)) == problem


def test_a_folder_that_is_not_installed_is_a_warning(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    def requires(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(environment, "requires", requires)
    assert [one.level for one in found(subject)] == ["ok", "ok", "warning"]


def test_packages_beside_other_programs_are_a_warning_except_in_a_container(
    subject: Subject, readings: RecordedReadings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", sys.base_prefix)
    assert found(subject)[1].level == "warning"
    readings.write("/.dockerenv", "")
    assert found(subject)[1].message == "no virtual environment, in a container (docker)"
    readings.environment = {"CONDA_PREFIX": "/conda"}
    assert found(subject)[1].message.startswith("conda environment")


def test_a_python_of_32_bits_cannot_serve(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "maxsize", 2**31 - 1)
    assert found(replace(subject))[0].level == "problem"
