"""Python, the environment that localserve is installed in, and the packages that it needs."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import Requirement

from localserve.doctor.finding import Finding
from localserve.doctor.subject import Subject
from localserve.planner.hardware import find_container
from localserve.planner.mending import install_command
from localserve.planner.readings import Readings

NAME = "environment"


def check_environment(subject: Subject) -> Iterator[Finding]:
    yield _about_python()
    yield _about_isolation(subject.readings)
    yield from _about_packages(subject.readings)


def _about_python() -> Finding:
    bits = 64 if sys.maxsize > 2**32 else 32
    python = f"Python {platform.python_version()}, {bits} bits, {sys.executable}"
    if bits == 32:
        message = f"{python}: too few bits for the addresses of a model"
        return Finding(
            NAME, "problem", message, "Install a Python of 64 bits, and localserve there."
        )
    return Finding(NAME, "ok", python)


def _about_isolation(readings: Readings) -> Finding:
    if sys.prefix != sys.base_prefix:
        return Finding(NAME, "ok", f"virtual environment {sys.prefix}")
    if "CONDA_PREFIX" in readings.environment:
        return Finding(NAME, "ok", f"conda environment {sys.prefix}")
    if container := find_container(readings):
        return Finding(NAME, "ok", f"no virtual environment, in a container ({container})")
    return Finding(
        NAME,
        "warning",
        f"no virtual environment: what other programs install into {sys.prefix} may break this one",
        "Make one (python3 -m venv FOLDER) and install localserve there; scripts/up does so.",
    )


def _about_packages(readings: Readings) -> Iterator[Finding]:
    try:
        wanted = [Requirement(text) for text in requires("localserve") or ()]
    except PackageNotFoundError:
        message = "localserve runs from a folder and is not installed, so its packages are unknown"
        yield Finding(NAME, "warning", message, "Install it: pip install FOLDER, or scripts/up.")
        return
    needed = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = [(one, problem) for one in needed if (problem := package_problem(one)) is not None]
    for one, problem in wrong:
        yield Finding(NAME, "problem", problem, commands=(_install(readings, one),))
    if not wrong:
        message = f"localserve {version('localserve')}, with all {len(needed)} packages it needs"
        yield Finding(NAME, "ok", message)


def package_problem(wanted: Requirement) -> str | None:
    """What is wrong with an installed package; None if it is one that is needed."""
    try:
        installed = version(wanted.name)
    except PackageNotFoundError:
        return f"the package {wanted.name} is missing"
    if wanted.specifier.contains(installed, prereleases=True):
        return None
    return f"{wanted.name} is {installed}; localserve needs {wanted.specifier}"


def _install(readings: Readings, wanted: Requirement) -> str:
    extras = f"[{','.join(sorted(wanted.extras))}]" if wanted.extras else ""
    requirement = f'"{wanted.name}{extras}{wanted.specifier}"'
    return f"{install_command(readings)} {requirement}"
