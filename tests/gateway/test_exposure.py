"""Which addresses are this machine's alone, and what it takes to listen on others."""

from __future__ import annotations

from pathlib import Path

import pytest

from localserve.config import Settings, read_settings
from localserve.errors import ConfigInvalid
from localserve.gateway.exposure import check_exposure, check_gateway, is_loopback
from localserve.gateway.paths import is_admin_path, is_monitoring_path, is_open_path, route_path
from localserve.gateway.store import key_store


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost", "LOCALHOST"])
def test_this_machines_own_addresses(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", "", "127.0.0.1.x"])
def test_addresses_that_others_reach(host: str) -> None:
    assert not is_loopback(host)


def _settings(tmp_path: Path, host: str, key: str = "") -> Settings:
    environ = {"LOCALSERVE_HOME": str(tmp_path), "LOCALSERVE_API_KEY": key}
    return read_settings({"host": host}, environ)


def test_other_machines_are_let_in_with_a_key_only(tmp_path: Path) -> None:
    check_exposure(_settings(tmp_path, "127.0.0.1"))
    open_to_all = _settings(tmp_path, "0.0.0.0")
    with pytest.raises(ConfigInvalid) as refused:
        check_exposure(open_to_all)
    assert "localserve keys create NAME" in refused.value.hint
    assert "LOCALSERVE_API_KEY" in refused.value.hint
    key_store(open_to_all).create("laptop", now=0.0)
    check_exposure(open_to_all)
    key_store(open_to_all).revoke("laptop", now=1.0)
    with pytest.raises(ConfigInvalid):
        check_exposure(open_to_all)
    check_exposure(_settings(tmp_path, "0.0.0.0", "a-key-of-some-length"))


def test_a_key_that_is_easily_guessed_is_refused_and_not_shown(tmp_path: Path) -> None:
    settings = _settings(tmp_path, "127.0.0.1", "hunter2")
    with pytest.raises(ConfigInvalid, match="7 characters") as refused:
        check_exposure(settings)
    assert "hunter2" not in str(refused.value)
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LOCALSERVE_ALLOWED_ORIGINS", "chat.example"),
        ("LOCALSERVE_ROUTE_LIMITS", "/chat"),
        ("LOCALSERVE_API_KEY", "short"),
        ("LOCALSERVE_HOST", "0.0.0.0"),
    ],
)
def test_what_a_server_would_stumble_over_is_found_before_it_starts(
    tmp_path: Path, variable: str, value: str
) -> None:
    environ = {"LOCALSERVE_HOME": str(tmp_path)}
    check_gateway(read_settings(environ=environ))
    with pytest.raises(ConfigInvalid):
        check_gateway(read_settings(environ=environ | {variable: value}))


@pytest.mark.parametrize(
    ("path", "root", "found"),
    [
        ("/v1/admin/keys", "", "/admin/keys"),
        ("/v1", "", ""),
        ("/v12/admin", "", "/v12/admin"),
        ("/app/v1/admin", "/app", "/admin"),
        ("/app/admin/keys", "/app/", "/admin/keys"),
        ("/application", "/app", "/application"),
    ],
)
def test_paths_are_known_wherever_the_application_is_mounted(
    path: str, root: str, found: str
) -> None:
    assert route_path({"path": path, "root_path": root}) == found


def test_what_is_the_administrators_is_not_open() -> None:
    assert all(map(is_admin_path, ["/admin", "/admin/", "/admin/models/a/load"]))
    assert all(map(is_monitoring_path, ["/metrics", "/health/details"]))
    assert not any(map(is_monitoring_path, ["/metrics/x", "/health", "/admin"]))
    assert not any(map(is_admin_path, ["/administrator", "/models", "/"]))
    assert all(map(is_open_path, ["/", "/health/live", "/errors/invalid_api_key"]))
    assert not any(map(is_open_path, ["/models", "/health/details", "/errors", "/admin"]))
