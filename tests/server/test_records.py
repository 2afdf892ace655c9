"""The one line of a request."""

from __future__ import annotations

import logging

import pytest

from localserve.chat import Accepted, Completed, TextDelta, Timings, Usage
from localserve.server.records import RequestRecord
from localserve.server.request_lines import format_record, is_probe, log_request, shortened
from localserve.telemetry.request_id import current_request_id
from localserve.testing import FakeBackend, fake_manager
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


async def test_the_id_of_a_request_reaches_what_runs_for_it(call: Serve) -> None:
    seen = []

    def script(messages: object) -> str:
        seen.append(current_request_id())
        return "answer"

    async with call(FakeBackend(script)) as served:
        for number in range(2):
            headers = {"x-request-id": f"mine-{number}"}
            response = await served.client.post("/v1/chat/completions", json=HELLO, headers=headers)
            assert response.headers["x-request-id"] == f"mine-{number}"
        odd = {"x-request-id": "two words"}
        response = await served.client.get("/v1/models", headers=odd)
        assert response.headers["x-request-id"].startswith("req-")
    assert seen == ["mine-0", "mine-1"]
    assert current_request_id() == ""


async def test_routes_are_patterns_whatever_the_path_was(call: Serve) -> None:
    async with call() as served:
        for path, route in (
            ("/v1/models/fake", "/models/{name:path}"),
            ("//models//", "/models"),
            ("/v1", "/"),
            ("/nothing", ""),
        ):
            await served.client.get(f"http://localhost{path}")
            assert (await served.record()).route == route
        await served.client.get("/v1/chat/completions")
        assert (await served.record()).route == "/chat/completions", "a wrong method"


async def test_the_wait_for_a_load_is_told_apart(call: Serve) -> None:
    manager = fake_manager(FakeBackend(), load_seconds=0.05)
    async with call(manager=manager, ready=False) as served:
        for least in (40.0, 0.0):
            await served.client.post("/v1/chat/completions", json=HELLO)
            record = await served.record()
            assert record.lease_ms is not None
            assert record.first_token_ms is not None
            assert least <= record.lease_ms <= record.first_token_ms
            assert record.served_by == "fake"


async def test_a_probe_that_goes_well_is_one_and_one_that_does_not_is_none(call: Serve) -> None:
    backend = FakeBackend()
    async with call(backend) as served:
        for path in ("/health", "/v1/health/live", "/health/details", "/metrics"):
            await served.client.get(path)
            assert is_probe(await served.record()), path
        backend.steps = False
        for path in ("/health/ready", "/v1/models", "/nothing"):
            await served.client.get(path)
            assert not is_probe(await served.record()), path


async def test_the_dashboards_files_and_its_looking_are_probes_also_where_they_are_there(
    call: Serve,
) -> None:
    async with call() as served:
        page = await served.client.get("/dashboard/app.js")
        assert is_probe(await served.record())
        tag = {"if-none-match": page.headers["etag"]}
        assert (await served.client.get("/dashboard/app.js", headers=tag)).status_code == 304
        assert is_probe(await served.record())
        await served.client.get("/admin/activity")
        assert is_probe(await served.record())


def test_what_a_client_sent_is_shown_in_part_and_as_valid_text() -> None:
    assert shortened("no\ud800ne") == "no?ne"
    assert shortened("x" * 1000) == "x" * 200 + "..."


def used(record: RequestRecord) -> tuple[int, int]:
    return record.prompt_tokens_used, record.answer_tokens_used


def test_whoever_takes_an_answer_over_uses_what_is_left_of_it() -> None:
    first, second, third = (RequestRecord(name, "POST", "/") for name in "abc")
    first.kept("miss")
    first.observe([Accepted("m", 10), TextDelta(0, "a"), TextDelta(0, "b")])
    second.kept("hit")
    assert used(second) == (0, 0)
    second.take_over(first)
    assert used(second) == (0, 0), "it has seen less of it so far"
    third.kept("hit")
    third.take_over(second)
    third.observe([Accepted("m", 10), Completed(Usage(10, 7), Timings())])
    assert [used(one) for one in (first, second, third)] == [(10, 2), (0, 0), (0, 5)]
    assert third.tokens_used == 5
    third.kept("hit")
    assert used(third) == (0, 0), "another model's answer, which was kept"
