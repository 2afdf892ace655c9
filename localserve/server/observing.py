"""What the configuration says of logs and spans. Any thread."""

from __future__ import annotations

from importlib.util import find_spec

from localserve.config import Settings
from localserve.errors import ConfigInvalid
from localserve.telemetry.bodies import BodySampler
from localserve.telemetry.spans import PackageMissing, Tracing, otlp_tracing


def check_observing(settings: Settings) -> None:
    """What a server would stumble over. Raises: ConfigInvalid."""
    if settings.log_bodies > 0 and settings.log_format != "json":
        raise ConfigInvalid(
            "Texts of requests are logged as JSON only, and LOCALSERVE_LOG_FORMAT is"
            f" {settings.log_format!r}.",
            hint="Set LOCALSERVE_LOG_FORMAT=json, or LOCALSERVE_LOG_BODIES=0.",
        )
    if settings.traces and not _has_package():
        raise _package_missing()


def sampler_for(settings: Settings) -> BodySampler | None:
    """Draws the requests whose texts are logged; None, where none are."""
    if settings.log_bodies <= 0:
        return None
    return BodySampler(settings.log_bodies, settings.log_body_characters)


def tracing_for(settings: Settings, version: str) -> Tracing | None:
    """Where spans are wanted. Raises: ConfigInvalid."""
    if not settings.traces:
        return None
    try:
        return otlp_tracing(version)
    except PackageMissing:
        raise _package_missing() from None


def _has_package() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None
    except ImportError:
        return False


def _package_missing() -> ConfigInvalid:
    return ConfigInvalid(
        "LOCALSERVE_TRACES is on, and OpenTelemetry is not installed.",
        hint="`pip install 'localserve[otel]'` installs it.",
    )
