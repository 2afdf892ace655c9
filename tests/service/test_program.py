"""What the service runs: the same server in the same environment, without its secrets."""

from __future__ import annotations

import os
import sys

from localserve.config import read_settings
from localserve.service.program import program

SETTINGS = read_settings(environ={"LOCALSERVE_DRAIN_SECONDS": "30"})


def test_it_is_this_python_s_localserve() -> None:
    found = program(["--port", "9000"], SETTINGS, {})
    assert found.command == (sys.executable, "-P", "-m", "localserve", "up", "--port", "9000")
    assert found.stop_seconds == 50


def test_settings_and_places_go_with_it_and_nothing_else() -> None:
    environ = {
        "LOCALSERVE_PORT": "9000",
        "LOCALSERVE_PARALLEL": "",
        "HF_HOME": "/hf",
        "LD_LIBRARY_PATH": "/cuda",
        "PATH": "/bin",
        "AWS_SECRET_ACCESS_KEY": "x",
    }
    assert program([], SETTINGS, environ).environment == {
        "HF_HOME": "/hf",
        "LD_LIBRARY_PATH": "/cuda",
        "LOCALSERVE_PORT": "9000",
    }


def test_folders_are_whole_paths_because_a_service_is_elsewhere() -> None:
    environ = {"LOCALSERVE_HOME": "here", "LOCALSERVE_MODELS_DIR": "~/models"}
    assert program([], SETTINGS, environ).environment == {
        "LOCALSERVE_HOME": os.path.abspath("here"),
        "LOCALSERVE_MODELS_DIR": os.path.expanduser("~/models"),
    }


def test_secrets_are_named_and_left_out() -> None:
    environ = {"LOCALSERVE_API_KEY": "a" * 40, "HF_TOKEN": "hf_x", "LOCALSERVE_REDIS_URL": ""}
    found = program([], SETTINGS, environ)
    assert (found.environment, found.left_out) == ({}, ("HF_TOKEN", "LOCALSERVE_API_KEY"))
