"""What users can touch is documented: commands, routes, errors, pictures, modules."""

from __future__ import annotations

import re
from pathlib import Path

from starlette.routing import Route
from typer.core import TyperGroup
from typer.main import get_command

from localserve.cli.app import app as commands
from localserve.config import read_settings
from localserve.errors import error_types
from localserve.server.app import create_app
from localserve.testing import FakeBackend, fake_manager

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "localserve"
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()


def test_every_command_is_in_the_readme() -> None:
    group = get_command(commands)
    assert isinstance(group, TyperGroup)
    for name, command in group.commands.items():
        parts = command.commands if isinstance(command, TyperGroup) else {}
        for words in [f"{name} {part}" for part in parts] or [name]:
            assert f"localserve {words}" in README


async def test_every_route_is_told_in_words() -> None:
    told = (ROOT / "docs/api.md").read_text()
    app = create_app(fake_manager(FakeBackend()), read_settings({}, {}))
    undocumented = {"", "/", "/health"}  # the greeting, and an alias
    for route in app.routes:
        assert isinstance(route, Route)
        path = route.path.removeprefix("/v1").replace("{name:path}", "{id}")
        assert path in undocumented or f"{path}`" in told, route.path


def test_every_error_says_what_it_means_under_a_code_of_its_own() -> None:
    codes = [kind.code for kind in error_types()]
    assert len(set(codes)) == len(codes)
    for kind in error_types():
        assert kind.description.endswith(".")


def test_every_module_is_in_the_code_map() -> None:
    modules = [
        path for place in ("", "*/", "catalog/finders/") for path in PACKAGE.glob(f"{place}*.py")
    ]
    for path in modules:
        if not path.stem.startswith("__") and path.parent.name not in ("cli",):
            assert f"`{path.name}`" in ARCHITECTURE, path


def test_every_picture_is_shown_and_what_is_shown_is_there_and_small() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    shown = {name for page in pages for name in re.findall(r"images/([\w.-]+)", page.read_text())}
    pictures = list((ROOT / "docs/images").iterdir())
    assert shown == {path.name for path in pictures}
    assert max(path.stat().st_size for path in pictures) < 150_000
