"""The sockets that the supervisor holds."""

from __future__ import annotations

import os
import socket

import pytest

from localserve.errors import ConfigInvalid
from localserve.server.listeners import listen


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
