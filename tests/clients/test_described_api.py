"""What others make of the description of the API: a generated client, and the page in a browser."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from localserve.connect.served import Served
from tests.clients.conftest import Shown
from tests.clients.installed import from_pypi

pytestmark = pytest.mark.clients

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
RENDER_SECONDS = 120

CHAT = """
import importlib, pkgutil, sys
import localserve_api
from localserve_api import Client
from localserve_api.api.open_ai import post_chat_completions
from localserve_api.models import OpenaiChatBody

modules = [one.name for one in pkgutil.walk_packages(localserve_api.__path__, "localserve_api.")]
for name in modules:
    importlib.import_module(name)
asked = {"role": "user", "content": "What is the capital of France?"}
body = OpenaiChatBody.from_dict({"messages": [asked], "temperature": 0})
answer = post_chat_completions.sync(client=Client(base_url=sys.argv[1]), body=body)
print(len(modules), answer.choices[0].message.content)
"""


def test_a_generated_client_completes_a_chat(served: Served, shown: Shown, tmp_path: Path) -> None:
    client = from_pypi("openapi-python-client")
    options = ("--meta", "none", "--output-path", str(tmp_path / "localserve_api"))
    url = f"{served.url}/openapi.json"
    said = client.run("openapi-python-client", "generate", "--url", url, *options, home=tmp_path)
    assert "will not be generated" not in said
    modules, answer = client.run("python", "-c", CHAT, served.url, home=tmp_path).split(maxsplit=1)
    assert "Paris" in answer
    shown(client, "localserve-tiny", f"{modules} generated modules imported, a chat")


def test_a_browser_shows_the_page_under_its_policy(served: Served, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.skip("no browser is installed")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"]
    command += ["--enable-logging=stderr", "--virtual-time-budget=20000"]
    command += [f"--user-data-dir={tmp_path}", f"{served.url}/docs"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=RENDER_SECONDS, check=False
    )
    assert "Answer a conversation" in done.stdout, done.stderr[-2000:]
    assert "/v1/chat/completions" in done.stdout
    assert "Content Security Policy" not in done.stderr
