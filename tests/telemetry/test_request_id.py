"""The id of a request reaches whatever runs for it, and nothing else."""

from __future__ import annotations

import asyncio

from localserve.telemetry.request_id import answering, current_request_id


async def test_tasks_and_threads_of_a_request_know_it() -> None:
    async def in_task() -> str:
        await asyncio.sleep(0)
        return current_request_id()

    outside = asyncio.create_task(in_task())
    with answering("one"):
        task = asyncio.create_task(in_task())
        assert await asyncio.to_thread(current_request_id) == "one"
        with answering("two"):
            assert current_request_id() == "two"
        assert current_request_id() == "one"
    assert await task == "one"
    assert await outside == ""
    assert current_request_id() == ""
