"""`/admin/models`: which models are loaded and how they do; load, unload and pin them by hand.

Lives on the event loop.
"""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localserve.catalog.filenames import as_text
from localserve.catalog.spec import LocalFile
from localserve.errors import FieldProblem, InvalidSchema
from localserve.manager import (
    Failed,
    Idle,
    Loaded,
    Loading,
    ModelManager,
    ModelReport,
    Ready,
    State,
)
from localserve.planner.plan import Wanted
from localserve.planner.runtime import CacheType
from localserve.server.bodies import read_body
from localserve.server.machine_memory import MachineMemory

MOST_BODY_BYTES = 4096

Body = TypeVar("Body", bound=BaseModel)


class UnloadBody(BaseModel):
    """The body of an unload; empty means the defaults."""

    model_config = ConfigDict(extra="forbid", strict=True)

    force: bool = False


class LoadBody(BaseModel):
    """How a model is to be run, in the words of the settings; what is left out is planned."""

    model_config = ConfigDict(extra="forbid", strict=True)

    context_tokens: int | None = Field(None, ge=64, le=1 << 24)
    parallel: int | None = Field(None, ge=1, le=256)
    cache_type_k: CacheType | None = None
    cache_type_v: CacheType | None = None
    gpu_layers: int | None = Field(None, ge=0, le=100_000)
    cpu_moe_layers: int | None = Field(None, ge=0, le=100_000)

    def wanted(self) -> Wanted:
        return Wanted(
            context_tokens=self.context_tokens,
            parallel=self.parallel,
            cache_type_k=self.cache_type_k,
            cache_type_v=self.cache_type_v,
            gpu_layers=self.gpu_layers,
            cpu_expert_layers=self.cpu_moe_layers,
        )


class EmptyBody(BaseModel):
    """The body of a route that needs none."""

    model_config = ConfigDict(extra="forbid")


class Admin:
    """The endpoints, over one manager."""

    def __init__(self, manager: ModelManager, memory: MachineMemory) -> None:
        self._manager = manager
        self._memory = memory
        self._started = time.time()

    async def list(self, request: Request) -> Response:
        """All models that were asked for, and the memory that they hold."""
        return JSONResponse(self.document())

    def document(self) -> dict[str, Any]:
        """What `list` answers."""
        return {
            "default": self._manager.spec.name,
            "pid": os.getpid(),
            "started_at": _time_text(self._started),
            "models": [report_fields(report) for report in self._manager.report()],
            "memory": self._memory.rows(self._manager.ledger),
        }

    async def load(self, request: Request) -> Response:
        """Load a model, as the body wants it; answers when it is loaded."""
        body = await read_json(request, LoadBody)
        return _answer(await self._manager.load(_name(request), body.wanted()))

    async def unload(self, request: Request) -> Response:
        """Free a model's memory; `{"force": true}` ends what it answers."""
        body = await read_json(request, UnloadBody)
        return _answer(await self._manager.unload(_name(request), force=body.force))

    async def pin(self, request: Request) -> Response:
        """Never unload the model to make room."""
        await read_json(request, EmptyBody)
        return _answer(await self._manager.set_pin(_name(request), True))

    async def default(self, request: Request) -> Response:
        """Load the model; requests that name none get it from then on."""
        await read_json(request, EmptyBody)
        return _answer(await self._manager.make_default(_name(request)))

    async def unpin(self, request: Request) -> Response:
        """Undo `pin`, also one of models.toml."""
        await read_json(request, EmptyBody)
        return _answer(await self._manager.set_pin(_name(request), False))


def report_fields(report: ModelReport) -> dict[str, object]:
    """One model as JSON: bytes, seconds, RFC 3339 times; null for what is not known."""
    facts = report.state.facts if isinstance(report.state, Ready) else None
    status, loaded, source = report.status, report.loaded, report.spec.source
    return {
        "id": report.spec.name,
        "aliases": list(report.spec.aliases),
        "state": state_name(report.state),
        "progress": round(report.state.share, 3) if isinstance(report.state, Loading) else None,
        "problem": str(report.state.error) if isinstance(report.state, Failed) else None,
        "file": as_text(str(source.path)) if isinstance(source, LocalFile) else None,
        "pinned": report.pinned,
        "keep_alive_seconds": report.spec.keep_alive_seconds,
        "context_tokens": facts.context_tokens if facts else None,
        "context_reduced_from_tokens": loaded.reduced_from_tokens if loaded else None,
        "parallel": facts.parallel if facts else None,
        "capabilities": list(facts.capabilities) if facts else [],
        "requests": report.leases,
        "running": status.running if status else 0,
        "waiting": report.waiting + (status.waiting if status else 0),
        "tokens_per_second": round(status.tokens_per_second, 2) if status else 0.0,
        "step_budget_ms": _rounded(status.step_budget_ms) if status else None,
        "cells_used": status.cells_used if status else 0,
        "cells": status.cells if status else 0,
        "prefix_disk_bytes": status.disk_bytes if status else 0,
        "memory_bytes": dict(report.device_bytes),
        "draft": str(loaded.draft) if loaded and loaded.draft else None,
        "draft_bytes": _draft_bytes(loaded) if loaded else 0,
        "guessed_tokens": status.guessed_tokens if status else 0,
        "right_tokens": status.right_tokens if status else 0,
        "predicted": loaded.predicted.as_document() if loaded else None,
        "measured": loaded.measured.as_document() if loaded and loaded.measured else None,
        "loaded_at": _time_text(loaded.at) if loaded else None,
        "load_seconds": round(loaded.seconds, 3) if loaded else None,
        "idle_since": _time_text(report.idle_since) if report.idle_since is not None else None,
        "expires_at": _time_text(report.expires_at) if report.expires_at is not None else None,
    }


def _draft_bytes(loaded: Loaded) -> int:
    """What the model that guesses for it holds of its memory."""
    return (loaded.measured or loaded.predicted).beside_bytes("draft")


def state_name(state: State) -> str:
    """How far a model is, in one word."""
    match state:
        case Loading():
            return "loading"
        case Ready():
            return "loaded"
        case Failed():
            return "failed"
        case Idle():
            return "unloaded"


def _answer(report: ModelReport) -> Response:
    return JSONResponse(report_fields(report))


def _name(request: Request) -> str:
    name: str = request.path_params["name"]
    return name


async def read_json(request: Request, kind: type[Body]) -> Body:
    """The body, which may be empty. Raises: InvalidSchema, RequestTooLarge."""
    content = await read_body(request, MOST_BODY_BYTES)
    try:
        return kind.model_validate(json.loads(content or b"{}"))
    except ValidationError as error:
        raise InvalidSchema(
            tuple(
                FieldProblem(".".join(map(str, one["loc"])), one["msg"], one["type"])
                for one in error.errors(include_url=False)
            )
        ) from None
    except ValueError:
        problem = FieldProblem("", "this is no JSON object", "json_invalid")
        raise InvalidSchema((problem,)) from None


def _rounded(number: float | None) -> float | None:
    return None if number is None else round(number, 1)


def _time_text(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
