"""Ollama's own SDK against a real server: every route, streamed and not."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import ollama
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from localserve.catalog.registry import BUILTIN_NAME, SHIPPED_FILE
from tests.catalog.hub_server import Hub, serve_hub
from tests.e2e.conftest import WAIT_SECONDS, Server, Start, serve_with
from tests.e2e.test_hostile import ANYTHING, often
from tests.minilm import CONTEXT, MiniLm
from tests.minilm_reference import embed

pytestmark = pytest.mark.e2e

TINY = BUILTIN_NAME
FRANCE = [{"role": "user", "content": "What is the capital of France?"}]
GREEDY = {"temperature": 0, "num_predict": 60}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the current weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "Name of the city"}},
            "required": ["city"],
        },
    },
}


@pytest.fixture(scope="module")
def server(minilm: MiniLm, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("home")
    config = home / "models.toml"
    config.write_text(f'[models.minilm]\nfile = "{minilm.gguf}"\nkind = "embedding"\n')
    with serve_with(home, TINY, "--config", str(config)) as server:
        yield server


@pytest.fixture
def client(server: Server) -> Iterator[ollama.Client]:
    with ollama.Client(host=server.url, timeout=WAIT_SECONDS) as client:
        yield client


def test_a_chat(client: ollama.Client) -> None:
    answer = client.chat(TINY, FRANCE, options=GREEDY)
    assert "Paris" in (answer.message.content or "")
    assert (answer.model, answer.done, answer.done_reason) == (TINY, True, "stop")
    assert answer.prompt_eval_count
    assert answer.eval_count
    assert answer.total_duration
    assert answer.load_duration
    assert answer.total_duration >= answer.load_duration
    assert answer.prompt_eval_duration
    assert answer.eval_duration


def test_a_chat_as_a_stream(client: ollama.Client) -> None:
    parts = list(client.chat(f"{TINY}:latest", FRANCE, stream=True, options=GREEDY))
    whole = client.chat(TINY, FRANCE, options=GREEDY)
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].eval_count == whole.eval_count
    assert parts[-1].model == f"{TINY}:latest"


def test_a_limit_and_a_stop_string(client: ollama.Client) -> None:
    cut = client.chat(TINY, FRANCE, options={"temperature": 0, "num_predict": 2})
    assert (cut.done_reason, cut.eval_count) == ("length", 2)
    stopped = client.chat(TINY, FRANCE, options={"temperature": 0, "stop": ["Paris"]})
    assert stopped.done_reason == "stop"
    assert "Paris" not in (stopped.message.content or "")


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_is_called_and_its_result_used(client: ollama.Client, stream: bool) -> None:
    question: list[Any] = [{"role": "user", "content": "What is the weather in Paris?"}]
    answer = client.chat(TINY, question, tools=[WEATHER], stream=stream, options=GREEDY)
    messages = [part.message for part in answer] if stream else [answer.message]  # type: ignore[union-attr]
    (call,) = [call for message in messages for call in message.tool_calls or ()]
    assert call.function.name == "get_weather"
    assert call.function.arguments == {"city": "Paris"}
    result = {
        "role": "tool",
        "tool_name": "get_weather",
        "content": json.dumps({"temperature": 21, "sky": "sunny"}),
    }
    said = next(message for message in messages if message.tool_calls)
    last = client.chat(TINY, [*question, said, result], tools=[WEATHER], options=GREEDY)
    assert "21" in (last.message.content or "")


def test_a_prompt(client: ollama.Client) -> None:
    prompt = FRANCE[0]["content"]
    answer = client.generate(TINY, prompt, options=GREEDY)
    assert "Paris" in answer.response
    parts = list(client.generate(TINY, prompt, stream=True, options=GREEDY))
    assert "".join(part.response for part in parts) == answer.response
    assert parts[-1].eval_count == answer.eval_count


def test_a_raw_prompt_and_one_with_a_suffix(client: ollama.Client) -> None:
    raw = client.generate(TINY, "The capital of France is", raw=True, options=GREEDY)
    chat = client.generate(TINY, "The capital of France is", options=GREEDY)
    assert raw.prompt_eval_count
    assert chat.prompt_eval_count
    assert raw.prompt_eval_count < chat.prompt_eval_count
    middle = client.generate(TINY, "def add(a, b):\n", suffix="\n\nprint(add(1, 2))\n")
    assert middle.done
    assert middle.eval_count


def test_embeddings_are_those_of_the_published_model(client: ollama.Client, minilm: MiniLm) -> None:
    texts = ["A man eats pasta.", "The stock market fell today."]
    answer = client.embed("minilm", texts)
    for text, vector in zip(texts, answer.embeddings, strict=True):
        assert np.array(vector) @ embed(minilm, text) >= 0.999
    assert answer.prompt_eval_count
    assert answer.total_duration
    (single,) = client.embed("minilm:latest", texts[0], dimensions=64).embeddings
    assert len(single) == 64
    older = client.embeddings("minilm", texts[0])
    assert np.allclose(older.embedding, answer.embeddings[0], atol=1e-3)
    assert client.embed("minilm", []).embeddings == []
    with pytest.raises(ollama.ResponseError, match=f"{CONTEXT} tokens") as refused:
        client.embed("minilm", "word " * 600)
    assert refused.value.status_code == 400


def test_the_models_of_this_disk(client: ollama.Client) -> None:
    models = {model.model: model for model in client.list().models}
    assert {TINY, "minilm"} <= set(models)
    details = models[TINY].details
    assert details is not None
    assert details.format == "gguf"
    assert details.family
    assert details.parameter_size
    assert details.quantization_level
    assert models[TINY].size


def test_a_model_is_shown_as_it_runs(client: ollama.Client, server: Server) -> None:
    client.embed("minilm", "a")
    shown = {name: client.show(name) for name in (TINY, "minilm")}
    running = {model.model: model for model in client.ps().models}
    for name, model in shown.items():
        info = model.modelinfo
        assert info is not None
        context = info[f"{info['general.architecture']}.context_length"]
        listed = server.get(f"/v1/models/{name}").json()
        assert context == listed["meta"]["n_ctx"] == running[name].context_length
        assert model.capabilities == listed["capabilities"]
    assert set(shown[TINY].capabilities or ()) >= {"completion", "tools", "insert"}
    assert shown["minilm"].capabilities == ["embedding"]
    assert ".Suffix" in (shown[TINY].template or "")
    assert running[TINY].size
    assert running[TINY].expires_at is not None


def test_a_model_is_loaded_and_unloaded(client: ollama.Client) -> None:
    assert client.generate("minilm").done_reason == "load"
    assert "minilm" in {model.model for model in client.ps().models}
    assert client.chat("minilm", [], keep_alive=0).done_reason == "unload"
    assert "minilm" not in {model.model for model in client.ps().models}
    client.embed("minilm", "a", keep_alive="5m")
    (running,) = (model for model in client.ps().models if model.model == "minilm")
    assert running.expires_at is not None
    assert running.expires_at.year < 2300
    client.embed("minilm", "a", keep_alive=0)
    assert "minilm" not in {model.model for model in client.ps().models}


def test_errors_have_the_status_and_the_text(client: ollama.Client) -> None:
    def refusal(**asked: Any) -> ollama.ResponseError:
        with pytest.raises(ollama.ResponseError) as refused:
            list(client.chat(**{"model": TINY, "messages": FRANCE, "stream": True, **asked}))
        return refused.value

    missing = refusal(model="no-such-model")
    assert missing.status_code == 404
    assert "not found" in missing.error
    long = refusal(messages=[{"role": "user", "content": "word " * 20_000}])
    assert long.status_code == 400
    assert "maximum context length" in long.error
    image = refusal(messages=[{"role": "user", "content": "?", "images": [b"png"]}])
    assert (image.status_code, "images" in image.error) == (400, True)
    assert refusal(options={"temperature": "hot"}).status_code == 400
    wrong = refusal(model="minilm")
    assert wrong.status_code == 400
    with pytest.raises(ollama.ResponseError) as vectors:
        client.embed(TINY, "a")
    assert vectors.value.status_code == 400


def test_the_greeting(server: Server) -> None:
    agent = {"user-agent": "ollama-python/0.6.1"}
    assert httpx2.get(server.url, headers=agent).text == "Ollama is running"
    assert httpx2.head(server.url).status_code == 200
    assert server.get("/").text.startswith("localserve is running")


def test_a_second_port_serves_the_same(start: Start) -> None:
    server = start("--also", "0")
    other = server.wait_for_line(r"also listening at (http://\S+)").group(1)
    assert server.url != other
    with ollama.Client(host=other, timeout=WAIT_SECONDS) as client:
        assert TINY in {model.model for model in client.list().models}
        server.worker.kill()
        server.wait_for_line("was killed by SIGKILL")
    with ollama.Client(host=other, timeout=WAIT_SECONDS) as client:
        assert client.chat(TINY, FRANCE, options=GREEDY).done
    assert server.stop() == 0


def test_a_busy_second_port_is_named(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        server = start("--also", str(port))
        assert server.wait() == 1
    assert f"Port {port}" in server.output
    assert "--also" in server.output


@pytest.fixture
def hub() -> Iterator[Hub]:
    with serve_hub() as hub:
        content = SHIPPED_FILE.with_name("builtin.gguf").read_bytes()
        hub.repositories["owner/small-GGUF"] = {"small-Q4_K_M.gguf": content}
        yield hub


def test_a_model_is_pulled_asked_and_deleted(start: Start, hub: Hub, tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "HF_HOME": str(tmp_path / "hf"), "HF_ENDPOINT": hub.url}
    server = start(environ=home)
    with ollama.Client(host=server.url, timeout=WAIT_SECONDS) as client:
        pull_ask_and_delete(client)


def pull_ask_and_delete(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError) as missing:
        client.chat("small-Q4_K_M", FRANCE)
    assert missing.value.status_code == 404
    steps = list(client.pull("hf.co/owner/small-GGUF", stream=True))
    assert steps[-1].status == "success"
    arriving = [step for step in steps if step.total]
    assert arriving[-1].completed == arriving[-1].total
    assert client.pull("hf.co/owner/small-GGUF").status == "success"
    assert "Paris" in (client.chat("small-Q4_K_M", FRANCE, options=GREEDY).message.content or "")
    assert client.delete("small-Q4_K_M:latest").status == "success"
    assert "small-Q4_K_M" not in {model.model for model in client.list().models}
    with pytest.raises(ollama.ResponseError) as gone:
        client.delete("small-Q4_K_M")
    assert gone.value.status_code == 404
    with pytest.raises(ollama.ResponseError) as kept:
        client.delete(TINY)
    assert kept.value.status_code == 400
    with pytest.raises(ollama.ResponseError) as unknown:
        list(client.pull("no-such-model", stream=True))
    assert unknown.value.status_code == 404


MODELS = often(st.sampled_from([TINY, "minilm", "tiny:latest", "nobody"]))
MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": often(st.sampled_from(["system", "user", "assistant", "tool"]))},
        optional={
            "content": often(st.text(max_size=30)),
            "thinking": often(st.text(max_size=9)),
            "tool_name": often(st.text(max_size=9)),
            "tool_calls": ANYTHING,
            "images": ANYTHING,
        },
    ),
    max_size=3,
)
OPTIONS = st.fixed_dictionaries(
    {"num_predict": st.integers(1, 4)},
    optional={
        "temperature": often(st.floats(-1, 6)),
        "top_k": often(st.integers(-5, 300_000) | st.floats(0, 50)),
        "top_p": often(st.floats(-0.5, 1.5)),
        "repeat_penalty": often(st.floats(0, 3)),
        "repeat_last_n": often(st.integers(-2, 100)),
        "seed": often(st.integers(-1, 2**40)),
        "stop": often(st.lists(st.text(max_size=5), max_size=4)),
        "num_ctx": ANYTHING,
    },
)
SHARED = {
    "model": MODELS,
    "stream": often(st.booleans()),
    "think": often(st.booleans() | st.sampled_from(["low", "high"])),
    "keep_alive": often(st.sampled_from([-1, "5m", 60])),
    "logprobs": often(st.booleans()),
    "top_logprobs": often(st.integers(0, 21)),
    "tools": ANYTHING,
    "format": ANYTHING,
}
ASKED = st.one_of(
    st.tuples(
        st.just("/api/chat"),
        st.fixed_dictionaries({"options": OPTIONS}, optional={**SHARED, "messages": MESSAGES}),
    ),
    st.tuples(
        st.just("/api/generate"),
        st.fixed_dictionaries(
            {"options": OPTIONS},
            optional={
                **SHARED,
                "prompt": often(st.text(max_size=30)),
                "suffix": often(st.text(max_size=9)),
                "system": often(st.text(max_size=9)),
                "raw": often(st.booleans()),
                "template": ANYTHING,
                "context": ANYTHING,
            },
        ),
    ),
    st.tuples(
        st.just("/api/embed"),
        st.fixed_dictionaries(
            {"input": often(st.text(max_size=30) | st.lists(st.text(max_size=9), max_size=3))},
            optional={"model": MODELS, "dimensions": often(st.integers(0, 400))},
        ),
    ),
    st.tuples(
        st.just("/api/show"),
        st.fixed_dictionaries({}, optional={"model": MODELS, "name": MODELS}),
    ),
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(asked=ASKED)
def test_no_body_is_answered_by_a_server_error(server: Server, asked: tuple[str, object]) -> None:
    worker = server.worker.pid
    response = server.post(*asked)
    assert response.status_code < 500, response.text
    assert server.worker.pid == worker
    lines = [json.loads(line) for line in response.text.splitlines()]
    if response.status_code >= 400:
        assert [list(line) for line in lines] == [["error"]]
    elif asked[0] in ("/api/chat", "/api/generate"):
        assert lines[-1].get("done") or "error" in lines[-1]
