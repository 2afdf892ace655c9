"""`/admin/fit` and `/admin/fit/{name}`: which models would fit this machine, and why.

Lives on the event loop; plans are made in a worker.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from localserve.manager.fits import Fits, Judgement
from localserve.planner.document import fit_document, machine_document, plan_document
from localserve.server.errors import RouteUnknown

_NOT_KEPT = {"cache-control": "no-store"}


class Fitting:
    """The endpoints; without `fits` this server plans nothing."""

    def __init__(self, fits: Fits | None) -> None:
        self._fits = fits

    async def list(self, request: Request) -> Response:
        """Every model of the disk and the catalog with its `level` ('fits', 'not now', 'too
        large'; null: see `problem`) and the plan, by formula."""
        survey = await self._planning().all()
        return JSONResponse(
            {
                "models": [_judgement_fields(one) for one in survey.models],
                "machine": machine_document(survey.machine),
            },
            headers=_NOT_KEPT,
        )

    async def show(self, request: Request) -> Response:
        """What `localserve fit NAME --json` prints, by formula, and `level`.

        Raises: UnknownModel, ModelUnusable.
        """
        answer = await self._planning().one(request.path_params["name"])
        document = fit_document(answer.fit, answer.machine)
        return JSONResponse(document | {"level": answer.level}, headers=_NOT_KEPT)

    def _planning(self) -> Fits:
        """Raises: RouteUnknown."""
        if self._fits is None:
            raise RouteUnknown("This server does not plan which models fit.")
        return self._fits


def _judgement_fields(one: Judgement) -> dict[str, Any]:
    fields = {"model": one.name, "on_disk": one.on_disk, "problem": one.problem or None}
    if one.outlook is None:
        return {**fields, "level": None, "plan": None}
    return {**fields, "level": one.outlook.level, "plan": plan_document(one.outlook.plan)}
