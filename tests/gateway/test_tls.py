"""The two options of TLS."""

from __future__ import annotations

from pathlib import Path

import pytest

from localserve.config import Settings, read_settings
from localserve.errors import ConfigInvalid
from localserve.gateway.tls import check_tls
from tests.certificates import make_certificate, make_encrypted


def _settings(tmp_path: Path, certificate: Path | None, key: Path | None) -> Settings:
    environ = {"LOCALSERVE_HOME": str(tmp_path)}
    return read_settings({"tls_cert": certificate, "tls_key": key}, environ)


def test_a_pair_is_served_and_none_is_plain_http(tmp_path: Path) -> None:
    assert check_tls(_settings(tmp_path, *make_certificate(tmp_path, "one")))
    assert not check_tls(_settings(tmp_path, None, None))


def test_half_a_pair_names_the_other_half(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match="--tls-cert is given without --tls-key"):
        check_tls(_settings(tmp_path, tmp_path / "a", None))
    with pytest.raises(ConfigInvalid, match="--tls-key is given without --tls-cert"):
        check_tls(_settings(tmp_path, None, tmp_path / "a"))


def test_files_that_are_missing_no_pem_or_no_pair_are_refused(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "one")
    _, other = make_certificate(tmp_path, "two")
    nothing = tmp_path / "nothing.pem"
    nothing.write_text("nothing")
    for pair, words in (
        ((tmp_path / "missing", key), "cannot be read"),
        ((nothing, key), "no certificate"),
        ((certificate, nothing), "no certificate"),
        ((certificate, other), "no certificate"),
    ):
        with pytest.raises(ConfigInvalid, match=words):
            check_tls(_settings(tmp_path, *pair))


def test_a_key_that_needs_a_password_asks_nobody(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "one")
    with pytest.raises(ConfigInvalid, match="is encrypted"):
        check_tls(_settings(tmp_path, certificate, make_encrypted(key)))
