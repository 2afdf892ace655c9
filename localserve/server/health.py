"""`GET /health/live`, `/health/ready` and `/health/details`: whether the process answers, whether
the model does, and what is wrong.

All answer within 100 ms. Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localserve.errors import EngineFailed, LocalserveError, ModelLoading
from localserve.manager import Failed, Idle, Loading, ModelManager, Ready
from localserve.server.checks import HealthChecks, worst
from localserve.server.errors import error_response
from localserve.server.lag import LoopLag

RESPONSIVE_SECONDS = 0.08
"""The time that the engine has to show that it steps."""


class Health:
    """Asks at most one question of the engine at a time."""

    def __init__(self, manager: ModelManager, checks: HealthChecks, lag: LoopLag) -> None:
        self._manager = manager
        self._checks = checks
        self._lag = lag
        self._asking: asyncio.Task[bool] | None = None

    async def live(self, request: Request) -> Response:
        """200 while the event loop runs."""
        return JSONResponse({"status": "ok"})

    async def ready(self, request: Request) -> Response:
        """200 when the default model steps or was unloaded on purpose, else 503 and why."""
        match self._manager.state:
            case Loading(name, share):
                error: LocalserveError = ModelLoading(
                    f"{name!r} is being loaded: {share:.0%}.", retry_after_seconds=1
                )
                return error_response(
                    request.scope, error, state="loading", model=name, progress=round(share, 3)
                )
            case Failed(name, failure):
                error = EngineFailed(f"{name!r} is not loaded: {failure}", retry_after_seconds=10)
                return error_response(request.scope, error, state="failed", model=name)
            case Idle(name):
                return JSONResponse({"status": "ok", "state": "unloaded", "model": name})
            case Ready(name):
                if await self._steps():
                    return JSONResponse(
                        {
                            "status": "ok",
                            "state": "ready",
                            "model": name,
                            "engine": self._engine(),
                            "loop_lag": self._loop_lag(),
                        }
                    )
                error = EngineFailed(
                    f"The engine of {name!r} did not answer within"
                    f" {RESPONSIVE_SECONDS * 1000:.0f} ms.",
                    retry_after_seconds=5,
                )
                return error_response(request.scope, error, state="stuck", model=name)

    async def details(self, request: Request) -> Response:
        """All checks with what they took: 200 while requests are answered, if with less than all
        that they should have (`degraded`), else 503 (`failing`)."""
        outcomes = await self._checks.run()
        status = worst(outcomes)
        checks = [
            {
                "name": one.name,
                "status": one.status,
                "latency_ms": round(one.latency_ms, 2),
                **({"problem": one.finding.problem} if one.finding.problem else {}),
                **one.finding.details,
            }
            for one in outcomes
        ]
        return JSONResponse(
            {"status": status, "checks": checks}, 503 if status == "failing" else 200
        )

    async def _steps(self) -> bool:
        """Whether the engine answers in time. Asking a dead one loads it again, as any request."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask(), name="ask the engine")
        asking = self._asking
        await asyncio.wait({asking}, timeout=RESPONSIVE_SECONDS + 0.01)
        return asking.done() and not asking.cancelled() and asking.result()

    def _engine(self) -> dict[str, int]:
        """How busy the engine is: requests, and cells of its memory."""
        status = self._manager.status()
        if status is None:
            return {}
        return {
            "running": status.running,
            "waiting": status.waiting,
            "cells_used": status.cells_used,
            "cells": status.cells,
        }

    def _loop_lag(self) -> dict[str, float] | None:
        """How late the event loop was lately, in milliseconds; null before it was measured."""
        lag = self._lag.read()
        if lag is None:
            return None
        return {
            "samples": lag.samples,
            "p50_ms": round(lag.p50_ms, 2),
            "p99_ms": round(lag.p99_ms, 2),
            "most_ms": round(lag.most_ms, 2),
        }

    async def _ask(self) -> bool:
        with contextlib.suppress(LocalserveError):
            return await self._manager.responsive(RESPONSIVE_SECONDS)
        return False
