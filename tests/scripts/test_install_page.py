"""docs/install.md says of compilers, GPUs and images what scripts, pyproject.toml and they do."""

from __future__ import annotations

import re
import tomllib
from types import ModuleType

import pytest

from localserve.planner.mending import CUDA_WHEELS, OTHER_WHEELS, WHEELS
from tests.release.conftest import ROOT
from tests.release.test_containers import environment, instructions

PAGE = (ROOT / "docs" / "install.md").read_text()
SECURITY = (ROOT / "SECURITY.md").read_text()


@pytest.mark.parametrize("manager", ["apt", "dnf", "pacman", "zypper", "apk"])
def test_what_compiling_needs_is_what_scripts_ask_for(manager: str, toolchain: ModuleType) -> None:
    row = next(line for line in PAGE.splitlines() if f"`{toolchain.INSTALL[manager]} " in line)
    needed = toolchain.PACKAGES[manager]
    for package in [needed["cmake"], needed["compiler"]]:
        assert package in row.split("|")[2]
    assert needed["vulkan"] in row.split("|")[3]


def test_the_version_that_is_compiled_anew_is_one_that_localserve_takes() -> None:
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    wanted = next(name for name in dependencies if name.startswith("llama-cpp-python"))
    assert re.findall(r'"(llama-cpp-python[^"]*)"', PAGE) == [wanted]


def test_the_page_and_the_program_know_the_same_indexes_of_compiled_packages() -> None:
    named = {f"cu{major}{minor}" for major, minor in CUDA_WHEELS} | {*OTHER_WHEELS.values()}
    rows = [line for line in PAGE.splitlines() if line.startswith(f"| `{WHEELS}/")]
    listed = {index.rpartition("/")[2] for row in rows for index in re.findall(r"`([^`]+)`", row)}
    assert named < listed
    only_on_the_page = {"cpu", "cu130", "cu132"}  # mends no GPU; lack older cards
    assert listed - named == only_on_the_page


def test_the_container_commands_use_the_images_port_volume_and_user() -> None:
    set_here = environment("Dockerfile")
    publish = re.findall(r"--publish (\S+)", PAGE)
    assert set(publish) == {f"127.0.0.1:8080:{set_here['LOCALSERVE_PORT']}"}
    volumes = {text.partition(":")[2] for text in re.findall(r"--volume (localserve:\S+)", PAGE)}
    assert volumes == {set_here["LOCALSERVE_HOME"]}
    user = next(arguments for word, arguments in instructions("Dockerfile") if word == "USER")
    assert f"user {user.partition(':')[0]}" in PAGE


def test_no_person_s_address_stands_where_holes_are_reported() -> None:
    assert "Report a\nvulnerability" in SECURITY
    assert not re.findall(r"[\w.]+@[\w.]+", SECURITY)
