"""What is said of all routes, a module for each API, as `server/endpoints.py` has them. Pure."""

from localserve.server.openapi.declarations import (
    administration,
    anthropic,
    llama_server,
    lm_studio,
    ollama,
    openai,
    probes,
)
from localserve.server.openapi.declared import Declared

DECLARED: tuple[Declared, ...] = (
    *openai.ROUTES,
    *anthropic.ROUTES,
    *llama_server.ROUTES,
    *ollama.ROUTES,
    *lm_studio.ROUTES,
    *administration.ROUTES,
    *probes.ROUTES,
)

__all__ = ["DECLARED"]
