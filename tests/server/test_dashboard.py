"""The dashboard's page and files: who gets them, and what they forbid."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from localserve.gateway.store import KeyStore
from localserve.server.dashboard import FOLDER
from tests.server.conftest import Serve

BROWSER = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


async def test_browsers_get_the_page_and_programs_the_greeting(call: Serve) -> None:
    async with call() as served:
        page = await served.client.get("/", headers=BROWSER)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.text.startswith("<!doctype html>")
        for accept in ("*/*", "application/json"):
            greeting = await served.client.get("/", headers={"accept": accept})
            assert greeting.text.startswith("localserve is running")
            assert greeting.headers["vary"] == "Accept"


async def test_all_that_the_page_names_is_there_and_nothing_comes_from_elsewhere(
    call: Serve,
) -> None:
    async with call() as served:
        named = set()
        for path in FOLDER.iterdir():
            text = path.read_text("utf-8")
            named |= set(re.findall(r'(?:src|href)="/(dashboard/[^"]+)"', text))
            named |= {f"dashboard/{one}" for one in re.findall(r'from "\./([^"]+)"', text)}
            assert not re.search(r"(?:src|href|from|import|url)[ =(\"']+https?:", text), path
        assert len(named) > 4
        for name in named:
            answer = await served.client.get(f"/{name}")
            assert answer.status_code == 200, name
            assert "script-src 'self'" in answer.headers["content-security-policy"]
            assert answer.headers["x-content-type-options"] == "nosniff"


def test_modules_come_at_once_and_not_one_after_the_other() -> None:
    page = (FOLDER / "index.html").read_text("utf-8")
    named = re.findall(r'(?:modulepreload" href|module" src)="/dashboard/([^"]+)"', page)
    assert sorted(named) == sorted(path.name for path in FOLDER.glob("*.js"))


def test_no_module_turns_text_into_markup_or_code() -> None:
    forbidden = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function"
    for path in FOLDER.glob("*.js"):
        assert not re.search(forbidden, path.read_text("utf-8")), path.name


async def test_the_policy_lets_nothing_in_that_is_not_a_file_of_the_server(call: Serve) -> None:
    async with call() as served:
        answer = await served.client.get("/", headers=BROWSER)
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none';")
        assert "unsafe" not in policy
        assert "http" not in policy
        assert "frame-ancestors 'none'" in policy
        assert "require-trusted-types-for 'script'" in policy
        assert answer.headers["referrer-policy"] == "no-referrer"


async def test_a_file_that_is_there_already_is_not_sent_again(call: Serve) -> None:
    async with call() as served:
        first = await served.client.get("/", headers=BROWSER)
        headers = BROWSER | {"if-none-match": first.headers["etag"]}
        again = await served.client.get("/", headers=headers)
        assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["nothing.js", "..%2fserver%2fapp.py", "%2e%2e", "index.html%00"])
async def test_nothing_but_the_files_is_there(call: Serve, name: str) -> None:
    async with call() as served:
        assert (await served.client.get(f"/dashboard/{name}")).status_code == 404


async def test_the_page_itself_needs_no_key(call: Serve, tmp_path: Path) -> None:
    KeyStore(tmp_path / "keys.sqlite").create("laptop", now=0.0)
    async with call(data_dir=tmp_path) as served:
        assert (await served.client.get("/", headers=BROWSER)).status_code == 200
        assert (await served.client.get("/dashboard/index.html")).status_code == 200
