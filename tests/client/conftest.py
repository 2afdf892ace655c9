"""The servers that clients are tried against."""

from tests.server.conftest import serve

__all__ = ["serve"]
