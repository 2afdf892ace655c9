"""So many users at once, each of whom waits for its answer before it asks again (a closed loop).

Lives on an asyncio loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Final

from localserve.errors import InvalidRequest, LocalserveError
from localserve.loadtest.answer import Exchange, Failure, read_exchange
from localserve.loadtest.client import LoadClient
from localserve.loadtest.figures import StepFigures, step_figures

PAUSE_SECONDS: Final = 0.5
"""A user whose request failed waits so long: nobody asks a thousand times a second."""

TELL_SECONDS: Final = 0.1
MAX_USERS: Final = 1024

Tell = Callable[[float], None]
"""Is told, several times a second, for how many seconds a step has lasted."""


class LoadTestFailed(LocalserveError):
    """There is nothing to measure."""

    code = "load_test_failed"
    description = "The server that a load test was to measure does not answer as it should."


def parse_users(text: str) -> tuple[int, ...]:
    """Numbers of users, one for each step, such as '1,2,4,8'. Raises: InvalidRequest."""
    try:
        users = tuple(int(part) for part in text.split(","))
    except ValueError:
        users = ()
    if not users or users[0] < 1 or list(users) != sorted(set(users)) or users[-1] > MAX_USERS:
        raise InvalidRequest(
            f"{text!r} are no steps of users.",
            hint=f"Rising whole numbers from 1 to {MAX_USERS} with commas between, such as"
            " 1,2,4,8.",
        )
    return users


async def warm_up(client: LoadClient) -> None:
    """One answer that does not count, so that the model is loaded.

    Raises: LoadTestFailed, with the server's words.
    """
    outcome = read_exchange(await client.ask())
    if isinstance(outcome, Failure):
        raise LoadTestFailed(
            f"The server does not answer: {outcome.message}",
            hint="A first request is sent to load the model, and it failed; nothing was measured.",
        )


async def run_step(
    client: LoadClient, users: int, seconds: float, tell: Tell = lambda seconds: None
) -> StepFigures:
    """Let `users` ask for `seconds`, each at least once; what is asked is answered to its end."""
    exchanges: list[Exchange] = []
    began = perf_counter()
    telling = asyncio.create_task(_keep_telling(began, tell))
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(users):
                group.create_task(_use(client, began + seconds, exchanges))
    finally:
        telling.cancel()
    return step_figures(users, began, seconds, [read_exchange(one) for one in exchanges])


async def _use(client: LoadClient, until: float, exchanges: list[Exchange]) -> None:
    """One user."""
    while True:
        exchange = await client.ask()
        exchanges.append(exchange)
        left = until - perf_counter()
        if left <= PAUSE_SECONDS * exchange.refused:
            return
        if exchange.refused:
            await asyncio.sleep(PAUSE_SECONDS)


async def _keep_telling(began: float, tell: Tell) -> None:
    while True:
        tell(perf_counter() - began)
        await asyncio.sleep(TELL_SECONDS)
