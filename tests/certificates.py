"""Certificates for tests, made by openssl where it is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest


def make_certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A certificate for localhost, signed by itself, and its key. Skips without openssl."""
    certificate, key = folder / f"{name}.pem", folder / f"{name}-key.pem"
    kind = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")
    _openssl("req", "-x509", *kind, *names, "-out", str(certificate), "-keyout", str(key))
    return certificate, key


def make_encrypted(key: Path) -> Path:
    """The same key behind a password."""
    encrypted = key.with_suffix(".encrypted.pem")
    _openssl("pkey", "-in", str(key), "-aes256", "-passout", "pass:word", "-out", str(encrypted))
    return encrypted


def _openssl(*arguments: str) -> None:
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("openssl is not installed")
    subprocess.run([program, *arguments], check=True, capture_output=True)
