"""The routes of models.toml, and what is said of wrong ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from localserve.catalog.registry import Registry
from localserve.catalog.routes import Hours, RouteTable, Target, load_routes, read_routes
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.config import read_settings
from localserve.errors import ConfigInvalid
from localserve.toml import read_toml

KNOWN = Registry((ModelSpec("taken", LocalFile(Path("t.gguf")), ("also",)),))


def read(tmp_path: Path, text: str) -> RouteTable:
    path = tmp_path / "models.toml"
    path.write_text(text)
    return read_routes(read_toml(path), KNOWN)


def test_a_route_has_its_models_in_their_order(tmp_path: Path) -> None:
    table = read(
        tmp_path,
        """
[routes.Auto]
by = "complexity"
fallback = ["last:7b"]
max_waiting = 3
first_token_seconds = 2.5

[routes.Auto.models]
"small:1b" = { up_to = 0.3, cost = 0.1, weight = 2.0, tools = false, context = 4096 }
large = { hours = "22:00-06:30" }
""",
    )
    route = table.find("AUTO")
    assert route is not None
    assert route.name == "Auto"
    assert route.targets == (
        Target("small:1b", 0.3, 0.1, 2.0, False, 4096),
        Target("large", hours=Hours(22 * 60, 6 * 60 + 30)),
    )
    assert str(route.targets[1].hours) == "22:00-06:30"
    assert route.fallbacks == (Target("last:7b"),)
    assert (route.by, route.max_waiting, route.first_token_seconds) == ("complexity", 3, 2.5)
    assert table.find("taken") is None


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ('[routes]\nauto = "small"', 2, "must be a table"),
        ("[routes.auto]\nby = 'size'\nmodels = { a = {} }", 2, "by is 'size'"),
        ("[routes.auto]\nby = 'order'", 1, "'models' is missing"),
        ("[routes.auto]\nmodels = {}", 2, "models is {}"),
        ("[routes.auto]\nmodel = { a = {} }\nmodels = { a = {} }", 2, "'routes.auto.model'"),
        ("[routes.auto.models]\na = { upto = 1.0 }", 2, "'routes.auto.models.a.upto'"),
        ("[routes.auto.models]\na = { up_to = 2.0 }", 2, "models.a.up_to is 2.0"),
        ("[routes.auto.models]\na = 3", 2, "must be a table of its own keys"),
        ("[routes.auto.models]\na = { hours = '7-9' }", 2, "write it as '22:00-06:00'"),
        ("[routes.taken.models]\na = {}", 1, "is the name of a model"),
        ("[routes.ALSO.models]\na = {}", 1, "is the name of a model (taken)"),
        ("[routes.'a b'.models]\na = {}", 1, "must be one word"),
        ("[routes.auto.models]\na = {}\n[routes.Auto.models]\nb = {}", 3, "is there twice"),
        ("[routes.x.models]\na = {}\n[routes.y.models]\nX = {}", 4, "is a route itself"),
        ("[routes.x.models]\na = {}\nA = {}", 3, "is there twice"),
        ("[routes.x]\nfallback = ['a']\nmodels = { a = {} }", 2, "is there twice"),
    ],
)
def test_a_mistake_is_told_with_its_line(
    tmp_path: Path, text: str, line: int, problem: str
) -> None:
    with pytest.raises(ConfigInvalid) as caught:
        read(tmp_path, text)
    assert f"line {line}:" in caught.value.message
    assert problem in caught.value.message


def test_without_a_file_there_are_no_routes(tmp_path: Path) -> None:
    settings = read_settings(environ={"LOCALSERVE_HOME": str(tmp_path)})
    assert list(load_routes(settings)) == []
