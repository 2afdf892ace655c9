"""The one line of a request."""

from __future__ import annotations

import logging

import pytest

from localserve.server.records import RequestRecord, format_record, log_request
from localserve.testing import FakeBackend
from tests.server.conftest import HELLO, Serve


async def test_an_answer_is_recorded_with_its_counts_and_without_its_content(call: Serve) -> None:
    async with call(FakeBackend("four words of secret")) as served:
        await served.client.post(
            "/v1/chat/completions",
            json=HELLO | {"stream": True, "max_tokens": 3},
            headers={"x-request-id": "my-id"},
        )
        record = await served.record()
    assert (record.status, record.model, record.request_id) == (200, "fake", "my-id")
    assert (record.prompt_tokens, record.completion_tokens) == (1, 3)
    assert record.finish_reasons == ("length",)
    assert record.first_token_ms is not None
    assert record.first_token_ms <= record.total_ms
    line = format_record(record)
    assert line.startswith("POST /v1/chat/completions 200 | fake | prompt 1 | answer 3 | 100.0 ")
    assert line.endswith("length | my-id")
    assert "words" not in line


def test_a_line_stays_one_line_whatever_was_sent() -> None:
    record = RequestRecord("id", "GET", "/a\nb\x1b[2J" + "c" * 1000, model="m\r\n")
    line = format_record(record)
    assert line.isprintable()
    assert r"m\r\n" in line
    assert r"/a\nb\x1b[2J" in line
    assert len(line) < 300


async def test_the_default_is_to_log(call: Serve, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "localserve.requests"):
        async with call(arguments={"on_request": log_request}) as served:
            await served.client.get("/nothing")
    assert any(line.startswith("GET /nothing 404 | route_unknown") for line in caplog.messages)
