"""A client's view of a real server on the built-in model, with the official SDK."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from urllib.parse import urlsplit

import openai
import pytest

from tests.e2e.conftest import Server, Start

pytestmark = pytest.mark.e2e

QUESTION = {"role": "user", "content": "What is the capital of France?"}


def ask(server: Server, text: str, **options: object) -> str:
    answer = server.client().chat.completions.create(
        model="localserve-tiny",
        messages=[{"role": "user", "content": text}],
        **{"temperature": 0, **options},  # type: ignore[call-overload]
    )
    return answer.choices[0].message.content or ""


def test_it_answers_a_question(server: Server) -> None:
    assert "Paris" in ask(server, QUESTION["content"])


def test_a_stream_says_the_same_as_a_whole_answer(server: Server) -> None:
    whole = ask(server, "Count from 1 to 5.")
    stream = server.client().chat.completions.create(
        model="localserve-tiny",
        messages=[{"role": "user", "content": "Count from 1 to 5."}],
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == whole
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    assert chunks[-1].choices == []


async def test_16_clients_at_once_each_get_their_own_answer(server: Server) -> None:
    capitals = {
        "France": "Paris",
        "Italy": "Rome",
        "Japan": "Tokyo",
        "Spain": "Madrid",
    }
    questions = [(country, capitals[country]) for country in capitals] * 4
    client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)

    async def one(country: str) -> str:
        answer = await client.chat.completions.create(
            model="localserve-tiny",
            messages=[{"role": "user", "content": f"What is the capital of {country}?"}],
            temperature=0,
        )
        return answer.choices[0].message.content or ""

    async with client:
        answers = await asyncio.gather(*(one(country) for country, _ in questions))
    for (country, capital), answer in zip(questions, answers, strict=True):
        assert capital in answer, country


def test_leaving_in_the_middle_frees_the_engine(server: Server) -> None:
    stream = server.client().completions.create(
        model="localserve-tiny",
        prompt="once",
        max_tokens=4000,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    next(iter(stream))
    assert server.engine()["running"] == 1
    stream.close()
    server.wait_until(lambda: server.engine()["running"] == 0)


def test_leaving_before_the_answer_is_complete_frees_the_engine(server: Server) -> None:
    parts = urlsplit(server.url)
    body = json.dumps({"prompt": "once", "max_tokens": 4000, "ignore_eos": True}).encode()
    head = (
        f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall(head.encode() + body)
        server.wait_until(lambda: server.engine()["running"] == 1)
    server.wait_until(lambda: server.engine()["running"] == 0)


def test_the_next_turn_reuses_what_the_last_one_computed(server: Server) -> None:
    first = "Repeat these words: " + " ".join(["apple", "stone", "river", "cloud"] * 10)
    client = server.client()
    messages: list[dict[str, str]] = [{"role": "user", "content": first}]
    options = {"model": "localserve-tiny", "temperature": 0, "max_tokens": 40}
    answer = client.chat.completions.create(messages=messages, **options)  # type: ignore[call-overload]
    messages += [
        {"role": "assistant", "content": answer.choices[0].message.content},
        {"role": "user", "content": "What is 2 plus 3?"},
    ]
    following = client.chat.completions.create(messages=messages, **options)  # type: ignore[call-overload]
    assert following.usage.prompt_tokens_details.cached_tokens >= answer.usage.prompt_tokens - 8


def test_too_long_a_prompt_is_refused_with_numbers_before_any_answer(server: Server) -> None:
    context = server.get("/v1/models").json()["data"][0]["meta"]["n_ctx"]
    with pytest.raises(openai.BadRequestError) as refused:
        server.client().chat.completions.create(
            model="localserve-tiny",
            messages=[{"role": "user", "content": "word " * (context + 1)}],
            stream=True,
        )
    body = refused.value.body
    assert isinstance(body, dict)
    assert body["code"] == "context_length_exceeded"
    assert body["type"] == "exceed_context_size_error"
    assert body["n_ctx"] == context
    assert body["n_prompt_tokens"] > context


def test_an_answer_limit_beyond_the_room_ends_with_length(start: Start) -> None:
    server = start("--ctx", "256")
    answer = server.client().completions.create(
        model="localserve-tiny",
        prompt="once",
        max_tokens=100_000,
        extra_body={"ignore_eos": True},
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 257  # the last token is given out without being computed


async def test_a_pool_too_small_for_all_pauses_and_fails_nobody(start: Start) -> None:
    server = start("--ctx", "1300", "--parallel", "3")
    client = openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)

    async def one(word: str) -> str:
        answer = await client.completions.create(
            model="localserve-tiny",
            prompt=f"The {word} goes",
            max_tokens=700,
            temperature=0,
            extra_body={"ignore_eos": True},
        )
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 700
        assert answer.choices[0].finish_reason == "length"
        return answer.choices[0].text

    words = ["cat", "dog", "king"]
    async with client:
        together = await asyncio.gather(*map(one, words))
        alone = await one("king")
    # Q8_0 sums differ a little between batches: the beginnings are the same.
    assert alone[:40] == together[2][:40]


def test_a_long_prompt_does_not_stop_a_running_stream(start: Start) -> None:
    server = start("--ctx", "16384")
    stream = server.client().completions.create(
        model="localserve-tiny",
        prompt="once",
        max_tokens=1500,
        stream=True,
        extra_body={"ignore_eos": True},
    )
    iterator = iter(stream)
    next(iterator)
    long_prompt = server.post("/v1/completions", {"prompt": "word " * 3000, "max_tokens": 1})
    assert long_prompt.status_code == 200
    assert server.engine()["running"] == 1, "the stream ended before the prompt was computed"
    stream.close()


def test_health_says_ready_quickly_even_while_a_prompt_computes(server: Server) -> None:
    began = time.monotonic()
    assert server.get("/health/live").status_code == 200
    assert server.get("/health/ready").status_code == 200
    assert server.get("/health").status_code == 200
    assert time.monotonic() - began < 5.0


def test_seeded_answers_repeat(server: Server) -> None:
    options = {"temperature": 1.0, "seed": 7, "max_tokens": 12}
    first = ask(server, "Say something.", **options)
    assert ask(server, "Say something.", **options) == first


def test_stop_strings_end_the_answer_and_are_not_given_out(server: Server) -> None:
    assert "3" in ask(server, "Count from 1 to 5.")
    stopped = ask(server, "Count from 1 to 5.", stop=["3"])
    assert "2" in stopped
    assert "3" not in stopped


def test_log_probabilities_come_with_every_token(server: Server) -> None:
    answer = server.client().chat.completions.create(
        model="localserve-tiny", messages=[QUESTION], temperature=0, logprobs=True, top_logprobs=3
    )
    scores = answer.choices[0].logprobs
    assert scores is not None
    assert scores.content is not None
    assert "".join(entry.token for entry in scores.content) == answer.choices[0].message.content
    for entry in scores.content:
        assert len(entry.top_logprobs) == 3
        assert entry.logprob == max(other.logprob for other in entry.top_logprobs)


def test_several_choices_share_one_prompt(server: Server) -> None:
    answer = server.client().chat.completions.create(
        model="localserve-tiny", messages=[QUESTION], n=3, temperature=0
    )
    assert [choice.index for choice in answer.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in answer.choices}) == 1


def test_the_middle_of_a_function_is_filled_in(server: Server) -> None:
    answer = server.client().completions.create(
        model="localserve-tiny",
        prompt="def add(a, b):\n    ",
        suffix="\n",
        temperature=0,
        max_tokens=32,
    )
    source = f"def add(a, b):\n    {answer.choices[0].text}\n"
    compile(source, "filled", "exec")


def test_an_unknown_model_is_404_with_the_nearest_names(server: Server) -> None:
    with pytest.raises(openai.NotFoundError, match="localserve-tiny"):
        server.client().chat.completions.create(model="localserve-tine", messages=[QUESTION])
