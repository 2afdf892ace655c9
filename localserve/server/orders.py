"""What a supervisor tells its worker: one JSON line each on the worker's stdin.

They follow the worker's arguments; their end says the same as an order to stop: the supervisor is
gone. Signals would be lost, or would kill, while a worker starts; lines wait in the pipe until it
listens. Pure; any thread.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator
from enum import Enum

log = logging.getLogger(__name__)


class Order(Enum):
    """STOP lets running answers end within the drain time; RELOAD reads models.toml again."""

    STOP = "stop"
    RELOAD = "reload"


def encode_order(order: Order) -> bytes:
    """One line, newline included."""
    return json.dumps({"order": order.value}).encode() + b"\n"


def read_orders(lines: Iterable[bytes]) -> Iterator[Order]:
    """The orders as they come, and STOP at the end of the lines.

    Logs and passes over what is no order. A pipe that breaks has ended.
    """
    try:
        for line in lines:
            try:
                yield Order(json.loads(line)["order"])
            except (ValueError, TypeError, KeyError):
                log.error("this is no order, and changes nothing: %.80r", line)
    except OSError:
        pass
    yield Order.STOP
