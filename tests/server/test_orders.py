"""What crosses from the supervisor to its worker."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from localserve.server.orders import Order, encode_order, read_orders


def test_orders_cross_in_one_line_each_and_the_end_is_one_to_stop() -> None:
    lines = [encode_order(order) for order in (Order.RELOAD, Order.STOP, Order.RELOAD)]
    assert all(line.count(b"\n") == 1 for line in lines)
    assert list(read_orders(lines)) == [Order.RELOAD, Order.STOP, Order.RELOAD, Order.STOP]


@pytest.mark.parametrize(
    "line", [b"\n", b"reload\n", b"{}\n", b"[]\n", b'{"order": "dance"}\n', b"\xff\n"]
)
def test_what_is_no_order_is_logged_and_passed_over(
    line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    assert list(read_orders([line, encode_order(Order.RELOAD)])) == [Order.RELOAD, Order.STOP]
    assert caplog.records[0].levelno == logging.ERROR


def test_a_pipe_that_breaks_has_ended() -> None:
    def broken() -> Iterator[bytes]:
        yield encode_order(Order.RELOAD)
        raise OSError("the pipe broke")

    assert list(read_orders(broken())) == [Order.RELOAD, Order.STOP]
