"""`localserve run` with a server that answers from a table: one answer, and what is typed."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from localserve.cli import own_server
from localserve.cli.chat_screen import counts_text, is_open, unquote, visible
from localserve.cli.dialogue import Counts, Dialogue, Piece
from localserve.cli.reach import NoServer
from localserve.config import Settings
from localserve.errors import LocalserveError
from tests.cli.conftest import Run
from tests.cli.fake_server import FakeServer, announced_fake, only_server

PATH = "/v1/chat/completions"
USAGE = {
    "prompt_tokens": 12,
    "completion_tokens": 3,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4},
}
TIMINGS = {"prompt_ms": 250.0, "predicted_per_second": 31.5}


def stream(*deltas: dict[str, Any], reason: str = "stop", end: bool = True) -> bytes:
    """An answer as the server streams it."""

    def frame(**fields: Any) -> str:
        return f"data: {json.dumps({'model': 'chat', **fields})}\n\n"

    frames = [": keep-alive\n\n"]
    frames += [frame(choices=[{"delta": one, "finish_reason": None}]) for one in deltas]
    if end:
        frames.append(frame(choices=[{"delta": {}, "finish_reason": reason}]))
        frames.append(frame(choices=[], usage=USAGE, timings=TIMINGS))
        frames.append("data: [DONE]\n\n")
    return "".join(frames).encode()


ANSWER = stream(
    {"role": "assistant"}, {"reasoning_content": "hm"}, {"content": "Hi "}, {"content": "there"}
)


@pytest.fixture
def fake(settings: Settings) -> Iterator[FakeServer]:
    with announced_fake(settings, {"detail": "no such thing"}) as server:
        server.answers[PATH] = (200, ANSWER)
        yield server


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives stdin a content."""

    def pipe(content: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))

    pipe(b"")
    return pipe


def test_a_prompt_is_answered_once_and_only_the_answer_is_on_stdout(
    run: Run, fake: FakeServer, piped: Any
) -> None:
    ran = run("run", "chat", "Hello?")
    assert (ran.status, ran.out, ran.err) == (0, "Hi there\n", "")
    ((path, body),) = fake.requests
    assert path == PATH
    assert body == {
        "model": "chat",
        "messages": [{"role": "user", "content": "Hello?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert fake.keys == ["Bearer ls-key"]


def test_stdin_is_the_prompt_or_follows_it(run: Run, fake: FakeServer, piped: Any) -> None:
    piped("What is 3 + 4? é\n".encode())
    assert run("run").out == "Hi there\n"
    piped(b"some text\n")
    run("run", "chat", "Sum it up:", "--system", "Be brief.", "--max-tokens", "5")
    first, second = (body for _, body in fake.requests)
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert "model" not in first
    assert first["messages"] == [{"role": "user", "content": "What is 3 + 4? é\n"}]
    assert second["max_tokens"] == 5
    assert [one["content"] for one in second["messages"]] == [
        "Be brief.",
        "Sum it up:\n\nsome text\n",
    ]


def test_json_tells_all_of_one_answer(run: Run, fake: FakeServer, piped: Any) -> None:
    document = json.loads(run("run", "chat", "Hello?", "--json").out)
    assert document == {
        "model": "chat",
        "answer": "Hi there",
        "reasoning": "hm",
        "finish_reason": "stop",
        "prompt_tokens": 12,
        "cached_tokens": 4,
        "answer_tokens": 3,
        "prompt_ms": 250.0,
        "tokens_per_second": 31.5,
    }


def test_an_answer_that_was_cut_says_so(run: Run, fake: FakeServer, piped: Any) -> None:
    fake.answers[PATH] = (200, stream({"content": "Hi"}, reason="length"))
    ran = run("run", "chat", "Hello?")
    assert (ran.status, ran.out) == (0, "Hi\n")
    assert "the limit is reached" in ran.err


def test_a_refusal_is_told_in_the_servers_words(run: Run, fake: FakeServer, piped: Any) -> None:
    fake.answers[PATH] = (404, {"detail": "The model 'x' does not exist here."})
    ran = run("run", "x", "Hello?")
    assert (ran.status, ran.out) == (1, "")
    assert "The model 'x' does not exist here." in ran.err


def test_an_error_in_the_middle_fails_after_what_came(
    run: Run, fake: FakeServer, piped: Any
) -> None:
    broken = stream({"content": "Hi"}, end=False) + b'data: {"error": {"message": "It broke."}}\n\n'
    fake.answers[PATH] = (200, broken)
    ran = run("run", "chat", "Hello?")
    assert ran.status == 1
    assert ran.out.startswith("Hi")
    assert "It broke." in ran.err


def test_without_a_prompt_and_a_terminal_it_is_wrong_usage(
    run: Run, fake: FakeServer, piped: Any
) -> None:
    assert run("run", "chat").status == 2
    assert run("run", "chat", "--json").status == 2
    piped(b" \n")
    assert run("run", "chat").status == 2


def test_stdin_that_is_no_text_is_refused(run: Run, fake: FakeServer, piped: Any) -> None:
    piped(b"ab\xff")
    ran = run("run", "chat")
    assert ran.status == 2
    assert "byte 2 is 0xff" in ran.err


def test_another_port_than_the_servers_is_refused(run: Run, fake: FakeServer, piped: Any) -> None:
    ran = run("run", "chat", "Hello?", "--port", "1")
    assert ran.status == 1
    assert str(fake.port) in ran.err


def test_a_dialogue_remembers_what_was_said(fake: FakeServer, settings: Settings) -> None:
    dialogue = Dialogue(only_server(settings), system="Be brief.")
    pieces = list(dialogue.answer("One"))
    assert pieces == [Piece("hm", reasoning=True), Piece("Hi "), Piece("there")]
    list(dialogue.answer("Two"))
    body = fake.requests[1][1]
    assert isinstance(body, dict)
    assert [(one["role"], one["content"]) for one in body["messages"]] == [
        ("system", "Be brief."),
        ("user", "One"),
        ("assistant", "Hi there"),
        ("user", "Two"),
    ]
    dialogue.clear()
    assert (dialogue.messages, dialogue.last) == ([], None)


def test_a_stopped_answer_is_remembered_as_far_as_it_came(
    fake: FakeServer, settings: Settings
) -> None:
    dialogue = Dialogue(only_server(settings))
    with closing(dialogue.answer("One")) as pieces:
        assert [next(pieces), next(pieces)] == [Piece("hm", reasoning=True), Piece("Hi ")]
    assert [one["content"] for one in dialogue.messages] == ["One", "Hi "]
    assert dialogue.last is None


def test_a_turn_that_brought_nothing_is_forgotten(fake: FakeServer, settings: Settings) -> None:
    fake.answers[PATH] = (503, {"detail": "Too many requests wait."})
    dialogue = Dialogue(only_server(settings))
    with pytest.raises(LocalserveError, match="Too many"):
        list(dialogue.answer("One"))
    assert dialogue.messages == []


def test_what_is_no_json_is_told_as_it_is(fake: FakeServer, settings: Settings) -> None:
    fake.answers[PATH] = (502, b"<html>Bad gateway</html>")
    with pytest.raises(LocalserveError, match="Bad gateway"):
        list(Dialogue(only_server(settings)).answer("One"))


def test_a_server_that_is_gone_is_told(fake: FakeServer, settings: Settings) -> None:
    dialogue = Dialogue(only_server(settings))
    fake.http.socket.close()
    with pytest.raises(NoServer, match="broke off"):
        list(dialogue.answer("One"))


def test_lines_that_belong_together() -> None:
    assert [is_open(text) for text in ("a", "a\\", '"""a', '"""', '"""a\nb"""', "")] == [
        False,
        True,
        True,
        True,
        False,
        False,
    ]
    assert unquote('"""\na\nb\n"""') == "a\nb"
    assert unquote("  a ") == "  a "


def test_control_characters_of_a_model_do_nothing() -> None:
    assert visible("a\tb\n\x1b[31mred\x07") == "a\tb\n\ufffd[31mred\ufffd"


def test_counts_in_words() -> None:
    counts = Counts("m", 120, 96, 42, 200.0, 31.46, "stop")
    assert counts_text(counts) == (
        "42 tokens, 31.5 tokens/s; prompt of 120 tokens (96 from the cache) in 0.2 s"
    )
    one = Counts("m", 120, 0, 1, 200.0, 0.0, "length")
    assert counts_text(one) == (
        "1 tokens; prompt of 120 tokens in 0.2 s; cut, the limit is reached"
    )


def test_where_a_started_server_could_not_be_found_none_is_started(
    run: Run, settings: Settings, piped: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_server, "LOAD_SECONDS", 0.0)
    settings.data_dir.parent.mkdir(parents=True, exist_ok=True)
    settings.data_dir.write_text("a file")
    ran = run("run", "tiny", "Hello")
    assert ran.status == 1
    assert f"{settings.data_dir / 'servers'} cannot be written" in " ".join(ran.err.split())
    assert "LOCALSERVE_DATA_DIR" in ran.err
