"""uv.lock answers pyproject.toml: no requirement without a locked version, none of a mirror's."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from packaging.markers import Marker
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.release.conftest import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCK = tomllib.loads((ROOT / "uv.lock").read_text())
INDEX = "https://pypi.org/simple"
ANEW = "run scripts/lock"

Asked = tuple[str, frozenset[str], frozenset[str], str, str]
"""A requirement: its name, its extras, its bounds, its marker, the extra or group that asks."""


def asked_by_pyproject() -> Iterator[Asked]:
    project = PYPROJECT["project"]
    lists = {"": project["dependencies"], **project["optional-dependencies"]}
    lists |= {f"group {name}": texts for name, texts in PYPROJECT["dependency-groups"].items()}
    for asker, texts in lists.items():
        for text in texts:
            wanted = Requirement(text)
            bounds = frozenset(str(bound) for bound in wanted.specifier)
            marker = str(wanted.marker or "")
            name = canonicalize_name(wanted.name)
            yield name, frozenset(wanted.extras), bounds, marker, asker


def asked_by_lock() -> Iterator[Asked]:
    metadata = own_package()["metadata"]
    for wanted in metadata["requires-dist"]:
        marker = wanted.get("marker", "")
        extra = re.search(r"(?: and )?extra == '(\w+)'$", marker)
        rest = marker.removesuffix(extra[0]) if extra else marker
        yield as_asked(wanted, rest, extra[1] if extra else "")
    for group, requirements in metadata["requires-dev"].items():
        for wanted in requirements:
            yield as_asked(wanted, wanted.get("marker", ""), f"group {group}")


def as_asked(wanted: dict[str, Any], marker: str, asker: str) -> Asked:
    bounds = frozenset(bound for bound in wanted.get("specifier", "").split(",") if bound)
    same_marker = str(Marker(marker)) if marker else ""
    return wanted["name"], frozenset(wanted.get("extras", ())), bounds, same_marker, asker


def own_package() -> dict[str, Any]:
    return next(package for package in LOCK["package"] if package["name"] == "localserve")


def others() -> list[dict[str, Any]]:
    return [package for package in LOCK["package"] if package["name"] != "localserve"]


def test_the_lock_was_made_for_this_pyproject() -> None:
    assert set(asked_by_lock()) == set(asked_by_pyproject()), ANEW
    assert own_package()["version"] == PYPROJECT["project"]["version"], ANEW
    assert LOCK["requires-python"] == PYPROJECT["project"]["requires-python"], ANEW


def test_every_locked_version_is_one_that_is_asked_for() -> None:
    versions: dict[str, list[Version]] = {}
    for package in others():
        versions.setdefault(package["name"], []).append(Version(package["version"]))
    for name, _, bounds, _, asker in asked_by_pyproject():
        specifier = Requirement(f"{name}{','.join(bounds)}").specifier
        assert versions[name], ANEW
        assert all(specifier.contains(version) for version in versions[name]), (name, asker)


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13", "3.14"])
@pytest.mark.parametrize("system", ["linux", "darwin", "win32"])
def test_every_python_and_system_has_one_version_of_every_package(python: str, system: str) -> None:
    here = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": system,
        "platform_machine": "arm64" if system == "darwin" else "x86_64",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    chosen: dict[str, list[str]] = {}
    for wanted in own_package()["dependencies"]:
        if Marker(wanted.get("marker", "python_version >= '0'")).evaluate(here):
            chosen.setdefault(wanted["name"], []).append(wanted.get("version", ""))
    required = {name for name, *_, asker in asked_by_pyproject() if not asker}
    assert set(chosen) == required
    assert [name for name, versions in chosen.items() if len(versions) != 1] == []


def test_every_file_is_pypi_s_and_has_a_checksum() -> None:
    for package in others():
        assert package["source"] == {"registry": INDEX}, ANEW
        files = [*package.get("wheels", ()), *([package["sdist"]] if "sdist" in package else [])]
        assert files, package["name"]
        for file in files:
            assert urlsplit(file["url"]).netloc == "files.pythonhosted.org", ANEW
            assert re.fullmatch(r"sha256:[0-9a-f]{64}", file["hash"])


def test_no_address_in_the_lock_is_another_s() -> None:
    hosts = set(re.findall(r"\w+://([^/\"]+)", (ROOT / "uv.lock").read_text()))
    assert hosts == {"pypi.org", "files.pythonhosted.org"}, ANEW
