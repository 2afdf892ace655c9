"""What happens in a server, as one line of JSON each."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest

from localserve.server.log_lines import told_line
from localserve.server.records import RequestRecord
from localserve.server.reports import (
    Aborting,
    Answered,
    DefaultChanged,
    Live,
    Loaded,
    LoadFailed,
    LoadProgress,
    Note,
    Reloaded,
    decode,
    encode,
)
from localserve.server.request_lines import request_fields
from localserve.server.supervisor import Died, FellBack, Killed, Stopping, Told
from localserve.testing import FakeBackend, fake_spec
from tests.server.conftest import CHAT, HELLO, Serve
from tests.server.scripted_worker import FACTS

DOCS = Path(__file__).parent.parent.parent / "docs"

AT = 1_795_663_762.1234


def described(told: Told) -> dict[str, Any]:
    line = told_line(told, AT, "http://127.0.0.1:1")
    assert line is not None
    assert "\n" not in line
    document: dict[str, Any] = json.loads(line)
    return document


async def test_a_request_is_told_with_all_its_counts_and_times(call: Serve) -> None:
    async with call(FakeBackend("four words of secret")) as served:
        await served.client.post(
            CHAT,
            json=HELLO | {"stream": True, "max_tokens": 3},
            headers={"x-request-id": "my-id"},
        )
        fields = request_fields(await served.record())
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d\d\dZ", fields.pop("time"))
    times = {name: value for name, value in fields.items() if name.endswith("_ms")}
    assert fields == times | {
        "request_id": "my-id",
        "method": "POST",
        "path": CHAT,
        "route": "/chat/completions",
        "status": 200,
        "operation": "chat",
        "model": "fake",
        "stream": True,
        "prompt_tokens": 1,
        "cached_tokens": 0,
        "completion_tokens": 3,
        "pieces": 3,
        "finish_reasons": ["length"],
        "tokens_per_second": 100.0,
    }
    assert set(times) == {
        "lease_ms",
        "queue_ms",
        "prompt_ms",
        "first_token_ms",
        "decode_ms",
        "total_ms",
    }
    assert times["prompt_ms"] == 10.0
    assert times["decode_ms"] == 20.0
    assert 0 <= times["lease_ms"] <= times["first_token_ms"] <= times["total_ms"]
    assert "secret" not in json.dumps(fields)


async def test_the_key_and_what_went_wrong_are_told(call: Serve) -> None:
    async with call() as served:
        await served.client.post(CHAT, json=HELLO | {"model": "none"})
        fields = request_fields(await served.record())
        await served.client.get("/nothing" * 100)
        lost = request_fields(await served.record())
    assert fields["error"] == "model_not_found"
    assert fields["status"] == 404
    assert fields["model"] == "none"
    assert len(lost["path"]) < 250
    assert "first_token_ms" not in fields
    record = RequestRecord("id", "GET", "/", caller="laptop", client_left=True, began_at=AT)
    assert request_fields(record) == {
        "time": "2026-11-26T03:29:22.123Z",
        "request_id": "id",
        "method": "GET",
        "path": "/",
        "key": "laptop",
        "client_left": True,
        "total_ms": 0.0,
    }


async def test_texts_are_there_only_where_they_are_asked_for_and_redacted(call: Serve) -> None:
    backend = FakeBackend("Write to bob@example.org or 4111 1111 1111 1111.")
    question = "My key is sk-" + "a1B2c3D4" * 4 + ", call +49 171 1234567\nnow"
    body = {"messages": [{"role": "user", "content": question}]}
    options = {"log_bodies": 1.0, "log_body_characters": 200, "log_format": "json"}
    async with call(backend, **options) as served:
        for stream in (False, True):
            await served.client.post(CHAT, json=body | {"stream": stream})
            fields = request_fields(await served.record())
            assert fields["answer"] == "Write to [EMAIL] or [CARD]."
            assert "My key is [SECRET], call [PHONE]\nnow" in fields["request_body"]
        await served.client.post("//admin//keys", json={"name": "none", "scope": "wrong"})
        assert "request_body" not in request_fields(await served.record())
    async with call(backend) as served:
        await served.client.post(CHAT, json=body)
        fields = request_fields(await served.record())
        assert not {"answer", "request_body"} & set(fields)


async def test_a_tool_call_and_reasoning_are_a_part_of_the_answer(call: Serve) -> None:
    from localserve.chat import ToolCall
    from localserve.testing import Thought

    call_made = ToolCall("abc", "send_mail", '{"to": "bob@example.org"}')
    backend = FakeBackend(lambda messages: [Thought("Hm. "), "Well. ", call_made])
    async with call(backend, log_bodies=1.0, log_format="json") as served:
        tools = [{"type": "function", "function": {"name": "send_mail"}}]
        await served.client.post(CHAT, json=HELLO | {"tools": tools})
        fields = request_fields(await served.record())
    assert fields["answer"] == 'Hm. Well. send_mail{"to": "[EMAIL]"}'


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (Live(), {"level": "info", "event": "live", "url": "http://127.0.0.1:1"}),
        (
            Answered("line", {"status": 200, "path": "/"}),
            {"level": "info", "event": "request", "status": 200, "path": "/"},
        ),
        (Answered("line", {"status": 503}), {"level": "error", "event": "request"}),
        (Answered("line", {"status": 429}), {"level": "warning", "event": "request"}),
        (Answered("line"), {"level": "info", "message": "line"}),
        (
            Note(logging.WARNING, "two\nlines", "localserve.engine", "req-1"),
            {
                "level": "warning",
                "event": "log",
                "message": "two\nlines",
                "logger": "localserve.engine",
                "request_id": "req-1",
            },
        ),
        (
            Loaded(FACTS, 1.2345, 100),
            {"event": "model_loaded", "load_seconds": 1.234, "model": "m"},
        ),
        (LoadFailed("what", "hint"), {"level": "error", "message": "what", "hint": "hint"}),
        (Reloaded(fake_spec()), {"event": "reloaded", "model": "fake"}),
        (DefaultChanged(fake_spec()), {"event": "default_changed", "model": "fake"}),
        (Aborting("assertion"), {"level": "error", "event": "aborting", "message": "assertion"}),
        (Stopping(10.0), {"event": "stopping", "drain_seconds": 10.0}),
        (
            Died("was killed by SIGABRT", "assertion", "restart"),
            {"level": "error", "event": "worker_died", "reason": "assertion", "then": "restart"},
        ),
        (FellBack("bad", "good"), {"level": "warning", "failed": "bad", "model": "good"}),
        (Killed(20.0), {"level": "error", "event": "worker_killed", "after_seconds": 20.0}),
    ],
    ids=lambda told: type(told).__name__,
)
def test_each_report_is_one_line(told: Told, expected: dict[str, object]) -> None:
    document = described(told)
    assert document["time"] == "2026-11-26T03:29:22.123Z"
    assert document.items() >= expected.items()


def test_progress_is_for_people() -> None:
    assert told_line(LoadProgress("m", 0.5), AT, "") is None


def test_a_line_that_carries_fields_crosses_to_the_supervisor() -> None:
    told = Answered("GET / 200", {"status": 200, "ünï": ["\ud800", None, 1.5]})
    assert decode(encode(told)) == told
    note = Note(logging.ERROR, "text", "logger", "id")
    assert decode(encode(note)) == note


async def test_every_field_is_documented(call: Serve) -> None:
    documented = set(re.findall(r"`(\w+)`", (DOCS / "observability.md").read_text()))
    async with call(FakeBackend("a b"), log_bodies=1.0, log_format="json") as served:
        await served.client.post(CHAT, json=HELLO | {"stream": True})
        record = await served.record()
    record.caller, record.error, record.client_left = "key", "code", True
    record.trace_id = "0" * 32
    fields = request_fields(record)
    assert len(fields) == 27
    assert set(fields) - documented == set()
