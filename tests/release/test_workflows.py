"""The workflows test every Python that is supported, and release only what a tag names."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.release.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FOLDER = ROOT / ".github" / "workflows"


def workflow(name: str) -> dict[str, Any]:
    document: dict[str, Any] = YAML(typ="safe").load((FOLDER / name).read_text())
    return document


def steps(name: str) -> list[dict[str, Any]]:
    jobs = workflow(name)["jobs"].values()
    return [step for job in jobs for step in job.get("steps", ())]


def supported() -> list[str]:
    """The versions of the classifiers, oldest first."""
    found = [re.fullmatch(r".* :: Python :: (3\.\d+)", text) for text in PROJECT["classifiers"]]
    return [match[1] for match in found if match]


def matrix_pairs() -> set[tuple[str, str]]:
    """The pairs of system and Python that the matrix leaves."""
    matrix = workflow("test.yml")["jobs"]["test"]["strategy"]["matrix"]
    excluded = {(row["os"], row["python"]) for row in matrix["exclude"]}
    return set(itertools.product(matrix["os"], matrix["python"])) - excluded


def test_linux_is_tested_with_every_python_and_the_others_with_oldest_and_newest() -> None:
    by_system: dict[str, list[str]] = {}
    for system, python in sorted(matrix_pairs(), key=lambda pair: int(pair[1].partition(".")[2])):
        by_system.setdefault(system.partition("-")[0], []).append(python)
    ends = [supported()[0], supported()[-1]]
    assert by_system == {"ubuntu": supported(), "macos": ends, "windows": ends}


def test_every_system_that_tests_has_a_llama_cpp_compiled_for_it() -> None:
    compiled = set(workflow("test.yml")["jobs"]["llama"]["strategy"]["matrix"]["os"])
    assert {system for system, _ in matrix_pairs()} == compiled


def test_a_wheel_that_other_machines_restore_is_for_no_processor_in_particular() -> None:
    assert "-DGGML_NATIVE=off" in workflow("test.yml")["env"]["CMAKE_ARGS"]


@pytest.mark.parametrize("name", ["test.yml", "release.yml"])
def test_scripts_that_a_workflow_runs_are_there(name: str) -> None:
    run = " ".join(step.get("run", "") for step in steps(name))
    for path in re.findall(r"\bscripts/\w+", run):
        assert os.access(ROOT / path, os.X_OK), path
    for group in re.findall(r"--group (\w+)", run):
        groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
        assert group in groups


def test_only_what_was_tested_and_built_is_published() -> None:
    jobs = workflow("release.yml")["jobs"]
    assert set(jobs["publish"]["needs"]) == {"test", "build"}
    assert jobs["publish"]["permissions"]["id-token"] == "write"
    assert not [name for name in ("test", "build") if "id-token" in jobs[name]["permissions"]]


@pytest.mark.skipif(sys.platform == "win32", reason="the release is built on Linux")
@pytest.mark.parametrize(("tag", "status"), [(f"v{PROJECT['version']}", 0), ("v9.9.9", 1)])
def test_a_tag_that_is_not_the_version_stops_the_release(
    tag: str, status: int, tmp_path: Path
) -> None:
    step = next(step for step in steps("release.yml") if step.get("name", "").startswith("The tag"))
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "python").symlink_to(sys.executable)
    done = subprocess.run(
        [shutil.which("bash") or "bash", "-e", "-c", step["run"]],
        cwd=ROOT,
        env={"PATH": f"{programs}:{os.environ['PATH']}", "GITHUB_REF_NAME": tag},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == status
    assert (tag in done.stdout) is (status != 0)
