"""Priorities, deadlines and stale keystrokes on a real server with a single place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import openai
import pytest

from tests.e2e.conftest import WAIT_SECONDS, Server, serve_with

pytestmark = pytest.mark.e2e

LONG = {"max_tokens": 3_000, "extra_body": {"ignore_eos": True}}
COMPLETION = "/v1/completions"


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_with(tmp_path_factory.mktemp("home"), "--ctx", "4096", "--parallel", "1") as server:
        yield server


def test_background_work_makes_way_for_a_completion_and_is_whole_in_the_end(
    narrow: Server,
) -> None:
    client = narrow.client()
    body = {**LONG, "extra_body": {"ignore_eos": True, "priority": "background"}}
    work = client.completions.create(
        model="localserve-tiny",
        prompt="once upon a time",
        stream=True,
        stream_options={"include_usage": True},
        **body,  # type: ignore[call-overload]
    )
    chunks = iter(work)
    next(chunks)
    urgent = client.completions.create(model="localserve-tiny", prompt="seven", max_tokens=2)
    assert urgent.choices[0].finish_reason in ("stop", "length")
    assert narrow.engine()["running"] + narrow.engine()["waiting"] == 1, "the work is not done yet"
    rest = list(chunks)
    assert rest[-1].usage.completion_tokens == 3_000
    assert [one.choices[0].finish_reason for one in rest if one.choices][-1] == "length"


def test_a_deadline_is_kept_and_frees_the_engine(narrow: Server) -> None:
    with pytest.raises(openai.APIStatusError) as late:
        narrow.client().completions.create(
            model="localserve-tiny",
            prompt="once",
            max_tokens=3_000,
            extra_body={"ignore_eos": True, "deadline_ms": 100},
        )
    assert late.value.status_code == 504
    assert late.value.response.headers["x-should-retry"] == "false"
    narrow.wait_until(lambda: narrow.engine()["running"] == 0)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"prompt": "once", "file": "file:///a.py"}, {"prompt": "twice", "file": "file:///a.py"}),
        (
            {"prompt": "def add(a, b):\n    return a ", "suffix": "\n\nprint(add(1, 2))\n"},
            {"prompt": "def add(a, b):\n    return a +", "suffix": "\n\nprint(add(1, 2))\n"},
        ),
    ],
)
def test_the_next_keystroke_ends_the_stale_completion(
    narrow: Server, old: dict[str, Any], new: dict[str, Any]
) -> None:
    long = {"max_tokens": 3_000, "ignore_eos": True, "stream": True}
    with (
        httpx2.Client(base_url=narrow.url, timeout=WAIT_SECONDS) as editor,
        editor.stream("POST", COMPLETION, json=old | long) as stale,
    ):
        lines = stale.iter_lines()
        next(lines)
        fresh = editor.post(COMPLETION, json=new | {"max_tokens": 1})
        assert fresh.status_code == 200
        said = [line for line in lines if line.startswith("data: ")]
        assert json.loads(said[-1][6:])["error"]["code"] == "superseded"
    narrow.wait_until(lambda: narrow.engine()["running"] == 0)


def test_two_files_of_one_editor_are_both_completed(narrow: Server) -> None:
    body = {"prompt": "once", "max_tokens": 40, "ignore_eos": True}
    with httpx2.Client(base_url=narrow.url, timeout=WAIT_SECONDS) as editor:

        def complete(file: str) -> httpx2.Response:
            return editor.post(COMPLETION, json=body | {"file": file})

        with ThreadPoolExecutor(2) as threads:
            answers = list(threads.map(complete, ["a.py", "b.py"]))
    assert [one.status_code for one in answers] == [200, 200]
