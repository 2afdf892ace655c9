"""Hosts and origins: which are this machine's, and that nothing odd passes for them."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from localserve.errors import ConfigInvalid
from localserve.gateway.hosts import is_own_host, own_names
from localserve.gateway.origins import is_local_origin, parse_origins, split_list
from tests.gateway.conftest import UNHURRIED

NAMES = frozenset({"localhost", "mybox", "chat.example"})


@pytest.mark.parametrize(
    "header",
    [
        "localhost",
        "LocalHost:8080",
        "localhost.",
        "127.0.0.1:8080",
        "192.168.1.5",
        "[::1]:8080",
        "[fe80::1%eth0]:80",
        "0.0.0.0:8080",
        "mybox:8080",
        "app.localhost:3000",
        "host.docker.internal:8080",
        "chat.example",
    ],
)
def test_hosts_that_are_this_machine(header: str) -> None:
    assert is_own_host(header, NAMES)


@pytest.mark.parametrize(
    "header",
    [
        "evil.example",
        "evil.example:8080",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "evil-localhost",
        "mybox.local",
        "127.0.0.1@evil.example",
        "evil.example#localhost",
        "localhost:80:80",
        "localhost/",
        "localhost, evil.example",
        "[::1",
        "::1]",
        "[evil.example]",
        "",
        "xn--lcalhost-3za",
        "ＬＯＣＡＬＨＯＳＴ",
        "localhost\x00.evil.example",
    ],
)
def test_hosts_that_are_not(header: str) -> None:
    assert not is_own_host(header, NAMES)


@UNHURRIED
@given(st.text(max_size=30) | st.ip_addresses().map(str))
def test_an_own_host_is_an_address_or_ends_in_a_name_that_is_known(header: str) -> None:
    if not is_own_host(header, NAMES):
        return
    host = header.strip().casefold()
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    bare = name.strip("[]").removesuffix(".")
    if bare not in NAMES and not bare.endswith((".localhost", ".internal")):
        ipaddress.ip_address(bare)


def test_this_machine_knows_its_own_names() -> None:
    assert "localhost" in own_names()


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost",
        "http://localhost:3000",
        "https://127.0.0.1:8443",
        "http://[::1]:5173",
        "http://app.localhost:1234",
    ],
)
def test_pages_of_this_machine(origin: str) -> None:
    assert is_local_origin(origin)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "",
        "file://",
        "localhost:3000",
        "http://localhost.evil.example",
        "http://evil.example",
        "http://127.0.0.1.evil.example",
        "http://localhost@evil.example",
        "http://evil.example#localhost",
        "http://user@localhost",
        "http://192.168.1.5",
        "http://0.0.0.0:3000",
        "chrome-extension://localhost",
        "http://localhost/path",
        "http://[::1",
        "http://[",
    ],
)
def test_pages_that_are_not(origin: str) -> None:
    assert not is_local_origin(origin)


@UNHURRIED
@given(st.text(max_size=60))
def test_no_origin_breaks_the_judgement(origin: str) -> None:
    is_local_origin(origin)
    is_local_origin(f"http://{origin}")
    parse_origins("https://*.example").allows(origin)


def test_named_origins_may_have_a_star() -> None:
    origins = parse_origins("https://Chat.example, vscode-webview://*,null")
    assert origins.names("https://chat.example")
    assert origins.names("vscode-webview://1a2b")
    assert origins.names("null")
    assert not origins.names("https://chat.example.evil")
    assert not origins.names("http://chat.example")
    assert not origins.names("http://localhost:3000")
    assert origins.allows("http://localhost:3000")
    assert parse_origins("*").names("https://anything.example")
    assert not parse_origins(None).names("null")


@pytest.mark.parametrize("text", ["chat.example", "https://", "https://a.example/path", "a b"])
def test_what_is_no_origin_is_a_mistake_in_the_configuration(text: str) -> None:
    with pytest.raises(ConfigInvalid, match="no origin"):
        parse_origins(text)


def test_lists_have_commas() -> None:
    assert split_list(" a, B ,,c ") == ("a", "b", "c")
    assert split_list(None) == ()
