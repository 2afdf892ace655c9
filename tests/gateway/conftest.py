"""What the tests of the gateway share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""Examples may take as long as a busy machine needs."""
