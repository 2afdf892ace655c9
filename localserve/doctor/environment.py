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

NAME = "environment"


def check_environment(subject: Subject) -> Iterator[Finding]:
    bits = 64 if sys.maxsize > 2**32 else 32
    python = f"Python {platform.python_version()} ({bits} bits)"
    if bits == 32:
        remedy = "Install a Python of 64 bits, and localserve into it."
        yield Finding(NAME, "problem", f"{python} cannot address models", remedy)
    else:
        yield Finding(NAME, "ok", f"{python} at {sys.executable}")
    yield _about_isolation(subject)
    yield from _about_packages()


def _about_isolation(subject: Subject) -> Finding:
    if sys.prefix != sys.base_prefix or "CONDA_PREFIX" in subject.readings.environment:
        return Finding(NAME, "ok", f"virtual environment {sys.prefix}")
    if container := find_container(subject.readings):
        return Finding(NAME, "ok", f"no virtual environment, in a container ({container})")
    return Finding(
        NAME,
        "warning",
        f"no virtual environment: what other programs install into {sys.prefix} may break it",
        "python3 -m venv ENVIRONMENT, and install localserve there (scripts/up does so).",
    )


def _about_packages() -> Iterator[Finding]:
    wanted = [Requirement(text) for text in requires("localserve") or ()]
    needed = [one for one in wanted if one.marker is None or one.marker.evaluate({"extra": ""})]
    wrong = [(one, problem) for one in needed if (problem := package_problem(one)) is not None]
    for one, problem in wrong:
        remedy = f'{sys.executable} -m pip install "{one.name}{one.specifier}"'
        yield Finding(NAME, "problem", problem, remedy)
    if not wrong:
        message = f"localserve {version('localserve')}, with all {len(needed)} packages it needs"
        yield Finding(NAME, "ok", message)


def package_problem(wanted: Requirement) -> str | None:
    """What is wrong with an installed package; None if it is the one that is needed."""
    try:
        installed = version(wanted.name)
    except PackageNotFoundError:
        return f"the package {wanted.name} is missing"
    if wanted.specifier.contains(installed, prereleases=True):
        return None
    return f"{wanted.name} is {installed}; localserve needs {wanted.specifier}"
