"""The sockets that the supervisor holds."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from localserve.errors import ConfigInvalid
from localserve.server.listeners import listen, parse_ports


def test_port_0_takes_a_free_one_and_both_loopback_addresses() -> None:
    listeners = listen("127.0.0.1", 0)
    try:
        assert listeners.url == f"http://127.0.0.1:{listeners.port}"
        families = [one.family for one in listeners.sockets]
        assert families[0] == socket.AF_INET
        assert {one.getsockname()[1] for one in listeners.sockets} == {listeners.port}
        socket.create_connection(("127.0.0.1", listeners.port)).close()
    finally:
        listeners.close()


def test_a_busy_port_is_named_with_its_holder_and_the_next_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(ConfigInvalid, match=rf"Port {port} is in use") as refused:
            listen("127.0.0.1", port)
    assert f"pid {os.getpid()}" in refused.value.message
    assert refused.value.hint.startswith("--port ")
    assert refused.value.hint != f"--port {port} is free."


@pytest.fixture
def port_taken_on_ipv6() -> Iterator[int]:
    try:
        holder = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with holder:
        yield int(holder.getsockname()[1])


def test_a_port_that_another_server_has_on_ipv6_is_warned_of(port_taken_on_ipv6: int) -> None:
    listeners = listen("127.0.0.1", port_taken_on_ipv6)
    try:
        assert [one.family for one in listeners.sockets] == [socket.AF_INET]
        assert f"Port {port_taken_on_ipv6} of ::1 is in use" in listeners.warning
        assert f"(pid {os.getpid()})" in listeners.warning
        assert listeners.url in listeners.warning
    finally:
        listeners.close()


def test_the_next_free_port_is_free_on_both_addresses(port_taken_on_ipv6: int) -> None:
    try:
        holder = socket.create_server(("127.0.0.1", port_taken_on_ipv6 - 1))
    except OSError:
        pytest.skip("the port before it is taken")
    with holder, pytest.raises(ConfigInvalid) as refused:
        listen("127.0.0.1", port_taken_on_ipv6 - 1)
    assert f"--port {port_taken_on_ipv6} " not in refused.value.hint


def test_a_machine_without_ipv6_is_served_without_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve = socket.getaddrinfo

    def without_ipv6(host: str, *arguments: Any, **options: Any) -> Any:
        if host == "::1":
            raise socket.gaierror(socket.EAI_ADDRFAMILY, "Address family not supported")
        return resolve(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", without_ipv6)
    listeners = listen("127.0.0.1", 0)
    try:
        assert len(listeners.sockets) == 1
        assert listeners.warning == ""
    finally:
        listeners.close()


def test_an_address_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigInvalid, match=r"no-such-host\.invalid"):
        listen("no-such-host.invalid", 0)


def test_all_addresses_are_shown_as_one_to_connect_to() -> None:
    listeners = listen("0.0.0.0", 0)
    try:
        assert listeners.host == "127.0.0.1"
        assert len(listeners.sockets) == 1
    finally:
        listeners.close()


def test_more_ports_are_served_as_well() -> None:
    listeners = listen("127.0.0.1", 0, also=(0, 0))
    try:
        ports = {one.getsockname()[1] for one in listeners.sockets}
        assert ports == {listeners.port, *listeners.also_ports}
        assert len(ports) == 3
        assert listeners.also_urls == tuple(
            f"http://127.0.0.1:{port}" for port in listeners.also_ports
        )
        for port in ports:
            socket.create_connection(("127.0.0.1", port)).close()
    finally:
        listeners.close()


def test_a_busy_port_that_was_to_be_served_as_well_is_named_and_nothing_stays_bound() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as free:
            main = free.getsockname()[1]
        with pytest.raises(ConfigInvalid, match=rf"Port {port}, .* is in use") as refused:
            listen("127.0.0.1", main, also=(port,))
        assert f"pid {os.getpid()}" in refused.value.message
        assert "--also" in refused.value.hint
        socket.create_server(("127.0.0.1", main)).close()


def test_the_main_port_need_not_be_served_twice() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listeners = listen("127.0.0.1", port, also=(port,))
    try:
        assert listeners.also_ports == ()
    finally:
        listeners.close()


@pytest.mark.parametrize(
    ("text", "ports"),
    [(None, ()), ("", ()), ("11434", (11434,)), (" 11434, 1234,11434 ", (11434, 1234))],
)
def test_ports_as_they_are_written(text: str | None, ports: tuple[int, ...]) -> None:
    assert parse_ports(text) == ports


@pytest.mark.parametrize("text", ["x", "65536", "-1", "1.5", "²", "1" * 5_000])
def test_what_is_no_port_is_named(text: str) -> None:
    with pytest.raises(ConfigInvalid, match="no port"):
        parse_ports(text)
