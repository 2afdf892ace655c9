"""What models.toml says reaches the application, and what it says later does too."""

from __future__ import annotations

from pathlib import Path

import pytest

from localserve.catalog.locate import find_model
from localserve.catalog.spec import ModelSpec
from localserve.config import Settings, read_settings
from localserve.errors import ConfigInvalid
from localserve.server.configured import check_startable
from localserve.server.local_models import Watcher
from localserve.server.serving import Serving

ROUTE = "[routes.{name}.models]\nlocalserve-tiny = {{}}\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    write(tmp_path, ROUTE.format(name="auto"))
    return read_settings({}, {"LOCALSERVE_HOME": str(tmp_path)})


def write(home: Path, text: str) -> None:
    (home / "config").mkdir(exist_ok=True)
    (home / "config" / "models.toml").write_text(text)


def serving_of(settings: Settings, told: list[ModelSpec]) -> Serving:
    configured = check_startable(settings)
    spec = find_model(None, configured.models, settings)
    return Serving(settings, spec, configured, Watcher(on_reload=told.append))


def routes_of(serving: Serving) -> list[str]:
    return [route.name for route in serving.app.state.router.routes]


async def test_routes_are_served_and_read_again(settings: Settings, tmp_path: Path) -> None:
    told: list[ModelSpec] = []
    serving = serving_of(settings, told)
    assert routes_of(serving) == ["auto"]
    write(tmp_path, ROUTE.format(name="quick") + '[models.localserve-tiny]\naliases = ["small"]\n')
    await serving.reload()
    assert routes_of(serving) == ["quick"]
    assert "small" in serving.manager.spec.aliases
    assert told == [serving.manager.spec]
    await serving.close()


@pytest.mark.parametrize("broken", ['[routes.auto]\nby = "luck"\n', "[models.a]\nno = 1\n"])
async def test_a_mistake_leaves_all_as_it_was(
    settings: Settings, tmp_path: Path, broken: str
) -> None:
    told: list[ModelSpec] = []
    serving = serving_of(settings, told)
    spec = serving.manager.spec
    write(tmp_path, broken)
    with pytest.raises(ConfigInvalid, match=r"models\.toml"):
        await serving.reload()
    assert (routes_of(serving), serving.manager.spec, told) == (["auto"], spec, [])
    await serving.close()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"host": "0.0.0.0"}, "no API key"),
        ({"tls_cert": "cert.pem"}, "without --tls-key"),
        ({"allowed_origins": "nonsense"}, "nonsense"),
    ],
)
def test_what_a_server_would_stumble_over_is_refused_before_it_starts(
    tmp_path: Path, options: dict[str, object], problem: str
) -> None:
    settings = read_settings(options, {"LOCALSERVE_HOME": str(tmp_path)})
    with pytest.raises(ConfigInvalid, match=problem):
        check_startable(settings)
