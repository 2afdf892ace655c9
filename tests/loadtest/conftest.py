"""The app over a fake backend, served over TCP."""

from __future__ import annotations

from tests.server.conftest import serve

__all__ = ["serve"]
