"""The certificate, if the server has one. Blocking disk access; any thread."""

from __future__ import annotations

import ssl
from pathlib import Path

from localserve.config import Settings
from localserve.errors import ConfigInvalid, UsageInvalid


def check_tls(settings: Settings) -> bool:
    """Whether to speak TLS: certificate and key are there and belong together.

    Raises: ConfigInvalid.
    """
    certificate, key = settings.tls_cert, settings.tls_key
    if certificate is None and key is None:
        return False
    if certificate is None or key is None:
        given, missing = ("cert", "key") if key is None else ("key", "cert")
        raise UsageInvalid(
            f"--tls-{given} is given without --tls-{missing}.", hint="TLS takes both."
        )
    try:
        _load(certificate, key)
    except ssl.SSLError as error:
        raise ConfigInvalid(
            f"{certificate} and {key} are no certificate and its key: {error.reason or error}.",
            hint="Both have to be PEM files.",
        ) from None
    except OSError as error:
        raise ConfigInvalid(f"The TLS files cannot be read: {error}.") from None
    return True


def _load(certificate: Path, key: Path) -> None:
    def refuse() -> str:
        raise ConfigInvalid(
            f"{key} is encrypted, and nobody is there to type its password at every start.",
            hint=f"`openssl pkey -in {key} -out FILE` writes it without one.",
        )

    ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certificate, key, refuse)
