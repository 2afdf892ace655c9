"""`/admin/settings`: what applies, and who said so; secrets are shown to nobody.

Lives on the event loop.
"""

from __future__ import annotations

from pathlib import Path

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localserve.config import SETTINGS, Settings


class EffectiveSettings:
    """The endpoint, over the settings of this server."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def show(self, request: Request) -> Response:
        """All settings: name, value (null: it depends on model or machine), source, variable, help.
        Of a secret only whether it is set."""
        rows = []
        for setting in SETTINGS:
            value = getattr(self._settings, setting.name)
            row = {
                "name": setting.name,
                "value": str(value) if isinstance(value, Path) else value,
                "source": self._settings.sources.get(setting.name, "default"),
                "variable": setting.variable,
                "help": setting.help,
            }
            if setting.secret:
                row |= {"value": None, "secret_is_set": value is not None}
            rows.append(row)
        return JSONResponse({"settings": rows}, headers={"cache-control": "no-store"})
