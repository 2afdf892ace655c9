"""What `python -m build` makes: wheel and source distribution, whole, clean and reproducible."""

from __future__ import annotations

import hashlib
import os
import re
import tarfile
import tomllib
import zipfile
from datetime import UTC, datetime
from email.message import Message
from email.parser import Parser
from pathlib import Path, PurePosixPath

import pytest

from tests.release.conftest import EPOCH, ROOT, Built, build, copy_repository

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PREFIX = f"localserve-{PROJECT['version']}"


@pytest.fixture(scope="module")
def in_wheel(built: Built) -> set[str]:
    return set(zipfile.ZipFile(built.wheel).namelist())


@pytest.fixture(scope="module")
def in_sdist(built: Built) -> set[str]:
    with tarfile.open(built.sdist) as archive:
        return {member.name.removeprefix(f"{PREFIX}/") for member in archive if member.isfile()}


@pytest.fixture(scope="module")
def metadata(built: Built) -> Message:
    archive = zipfile.ZipFile(built.wheel)
    return Parser().parsestr(archive.read(f"{PREFIX}.dist-info/METADATA").decode())


def package_files() -> set[str]:
    """Every file of the package that git would have: code, catalog, models, dashboard."""
    files = (path for path in (ROOT / "localserve").rglob("*") if path.is_file())
    return {
        path.relative_to(ROOT).as_posix()
        for path in files
        if path.suffix != ".pyc" and not path.name.startswith(".")
    }


def test_the_wheel_is_the_whole_package_its_metadata_and_nothing_else(in_wheel: set[str]) -> None:
    described = {name for name in in_wheel if name.startswith(f"{PREFIX}.dist-info/")}
    assert in_wheel - described == package_files()
    assert {PurePosixPath(name).name for name in described} == {
        "METADATA",
        "WHEEL",
        "RECORD",
        "entry_points.txt",
        "LICENSE",
    }


@pytest.mark.parametrize(
    "name",
    [
        "localserve/catalog/models.toml",
        "localserve/catalog/builtin.gguf",
        "localserve/dashboard/index.html",
        "localserve/dashboard/app.js",
        "localserve/dashboard/style.css",
        "localserve/py.typed",
    ],
)
def test_the_wheel_carries_what_is_no_code(in_wheel: set[str], name: str) -> None:
    assert name in in_wheel


def test_the_wheel_is_small_enough_to_download_at_once(built: Built) -> None:
    assert built.wheel.stat().st_size < 8_000_000


def test_the_sdist_has_what_building_and_testing_need(in_sdist: set[str]) -> None:
    assert package_files() <= in_sdist
    needed = {"pyproject.toml", "uv.lock", "README.md", "LICENSE", "CHANGELOG.md", "PKG-INFO"}
    assert needed | {"tests/conftest.py", "scripts/test", "benchmarks/__main__.py"} <= in_sdist


def test_nothing_that_tests_and_tools_leave_behind_is_packed(
    in_sdist: set[str], in_wheel: set[str]
) -> None:
    for name in in_sdist | in_wheel:
        parts = PurePosixPath(name).parts
        hidden = {part for part in parts if part.startswith(".")}
        assert hidden <= {".gitignore", ".dockerignore", ".hadolint.yaml", ".github", ".ci"}, name
        assert not {"__pycache__", "build", "dist", "out"} & set(parts), name


def test_the_sdist_unpacks_into_one_folder_as_nobody(built: Built) -> None:
    with tarfile.open(built.sdist) as archive:
        for member in archive:
            assert member.name.startswith(f"{PREFIX}/")
            assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")


def test_builds_of_one_source_are_the_same_to_the_byte(built: Built, tmp_path: Path) -> None:
    """In another folder, later, with other modes; the wheel from the tree, not from the sdist."""
    elsewhere = copy_repository(tmp_path / "elsewhere")
    for path in elsewhere.rglob("*.py"):
        path.chmod(0o664)
        os.utime(path, (EPOCH + 1, EPOCH + 1))
    again = build(elsewhere, "--sdist", "--wheel")
    assert sha256(again / built.sdist.name) == sha256(built.sdist)
    assert sha256(again / built.wheel.name) == sha256(built.wheel)


def test_the_files_bear_the_time_that_the_environment_gives(built: Built) -> None:
    at = datetime.fromtimestamp(EPOCH, UTC)
    times = {info.date_time for info in zipfile.ZipFile(built.wheel).infolist()}
    assert times == {(at.year, at.month, at.day, at.hour, at.minute, at.second)}


def test_the_metadata_names_every_python_that_is_supported(metadata: Message) -> None:
    begins = "Programming Language :: Python :: "
    versions = [
        line.removeprefix(begins)
        for line in metadata.get_all("Classifier", [])
        if re.fullmatch(rf"{begins}3\.\d+", line)
    ]
    assert versions == ["3.11", "3.12", "3.13", "3.14"]
    assert metadata["Requires-Python"] == f">={versions[0]}"


def test_the_metadata_has_licence_readme_and_no_address(metadata: Message) -> None:
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "# localserve" in metadata.get_payload()
    addresses = {"Project-URL", "Home-page", "Download-URL", "Author-email", "Maintainer-email"}
    assert not addresses & set(metadata.keys())


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
