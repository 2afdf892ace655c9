"""`/admin/catalog`: what models.toml offers to be fetched. Lives on the event loop; the files are
read in a worker."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localserve.catalog.registry import load_registry
from localserve.catalog.spec import HubFile, ModelSpec
from localserve.config import Settings


class Shelf:
    """The endpoint, over the catalog that comes along and the user's own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def show(self, request: Request) -> Response:
        """The entries that name a repository, with the bytes of each quantization.

        Raises: ConfigInvalid.
        """
        registry = await asyncio.to_thread(load_registry, self._settings)
        return JSONResponse({"models": [fields for spec in registry if (fields := _fields(spec))]})


def _fields(spec: ModelSpec) -> dict[str, Any] | None:
    if not isinstance(spec.source, HubFile):
        return None
    return {
        "name": spec.name,
        "aliases": list(spec.aliases),
        "kind": spec.kind,
        "repo": spec.source.repo,
        "parameters": spec.shape.parameters if spec.shape else None,
        "active_parameters": spec.shape.active_parameters if spec.shape else None,
        "trained_context_tokens": spec.shape.trained_context_tokens if spec.shape else None,
        "quantizations": dict(spec.quantizations),
    }
