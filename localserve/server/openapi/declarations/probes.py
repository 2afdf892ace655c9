"""The routes for whoever watches the server or finds it, as they are described. Pure."""

from __future__ import annotations

from localserve.errors import Unavailable
from localserve.server.errors import RouteUnknown
from localserve.server.openapi import bodies
from localserve.server.openapi.declared import Declared, Dialect

PROBES = Dialect("Watching", "Whether it is well, and what it does.", bodies.Problem)

METRICS = ("text/plain", "application/openmetrics-text")

ROUTES: tuple[Declared, ...] = (
    *(
        Declared(
            "GET",
            path,
            PROBES,
            "Whether the default model answers",
            bodies.Status,
            errors=(Unavailable,),
        )
        for path in ("/health", "/health/ready")
    ),
    Declared("GET", "/health/live", PROBES, "Whether the process answers", bodies.Status),
    Declared(
        "GET",
        "/health/details",
        PROBES,
        "Every check with its latency; 503 if one fails",
        bodies.HealthDetails,
        also_failing=True,
    ),
    Declared("GET", "/metrics", PROBES, "Figures for Prometheus", texts=METRICS),
    Declared(
        "GET",
        "/errors/{code}",
        PROBES,
        "What an error means",
        bodies.ErrorDescription,
        errors=(RouteUnknown,),
    ),
    Declared(
        "GET",
        "/",
        PROBES,
        "A greeting; the dashboard for browsers",
        texts=("text/plain", "text/html"),
    ),
)
