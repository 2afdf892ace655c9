"""The server of one process without its sockets: the application over the models, put together.

Whoever serves it (`worker.py`, `embedded.py`) only brings the settings and listens to what happens.
Lives on the event loop.
"""

from __future__ import annotations

import asyncio
import logging

from starlette.applications import Starlette

from localserve.catalog.spec import ModelSpec
from localserve.config import Settings
from localserve.errors import LocalserveError
from localserve.manager import ModelManager
from localserve.server.app import create_app
from localserve.server.configured import Configured, read_configured
from localserve.server.local_models import LocalModels, Watcher
from localserve.server.records import OnRequest
from localserve.server.request_lines import log_request
from localserve.server.router import Router

log = logging.getLogger(__name__)


class Serving:
    """`app` answers for `spec` by default, and for all else that `configured` and the disk offer.

    Its lifespan starts the models and ends them. `owner_key` is a key with all rights that is in no
    file; `on_request` is called once for every request, after its end.
    """

    def __init__(
        self,
        settings: Settings,
        spec: ModelSpec,
        configured: Configured,
        watcher: Watcher,
        *,
        owner_key: str | None = None,
        on_request: OnRequest = log_request,
    ) -> None:
        self._settings = settings
        self._watcher = watcher
        self._models = LocalModels(settings, spec, configured.models, watcher)
        self._reloading = asyncio.Lock()
        self.app: Starlette = create_app(
            self.manager,
            settings,
            reload=self.reload,
            library=self._models.library,
            owner_key=owner_key,
            on_request=on_request,
            routes=configured.routes,
            look=self._models.look,
        )

    @property
    def manager(self) -> ModelManager:
        """Who has the models."""
        return self._models.manager

    async def reload(self) -> None:
        """Read models.toml again. Raises: ConfigInvalid; then all stays as it was."""
        async with self._reloading:
            try:
                configured = await asyncio.to_thread(read_configured, self._settings)
            except LocalserveError as error:
                log.error("models.toml stays as it was: %s", error)
                raise
            self._models.reconfigure(configured.models)
            router: Router = self.app.state.router
            router.reconfigure(configured.routes)
            self._watcher.on_reload(self.manager.spec)
            log.info("models.toml was read again: %d models", len(configured.models))

    def break_all(self, error: LocalserveError) -> None:
        """End all answers that are under way with `error`."""
        self._models.break_all(error)

    async def close(self) -> None:
        """End what is left when the lifespan of `app` is over."""
        await self._models.close()
