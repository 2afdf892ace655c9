"""What editors send to llama-server, against a real server on the built-in model."""

from __future__ import annotations

import json
import threading
from typing import Any

import httpx2
import pytest

from tests.e2e.conftest import WAIT_SECONDS, Server

pytestmark = pytest.mark.e2e

PREFIX = "def add(a, b):\n    "
SUFFIX = "\n\nprint(add(1, 2))\n"
MIDDLE = {"input_prefix": PREFIX, "input_suffix": SUFFIX, "temperature": 0, "n_predict": 32}


def ask(server: Server, path: str, body: dict[str, Any]) -> Any:
    response = server.post(path, body)
    assert response.status_code == 200, response.text
    return response.json()


def streamed(server: Server, path: str, body: dict[str, Any]) -> list[Any]:
    response = server.post(path, body | {"stream": True})
    assert response.status_code == 200, response.text
    blocks = response.text.split("\n\n")
    return [json.loads(one.removeprefix("data: ")) for one in blocks if one.startswith("data: ")]


def test_a_middle_is_filled_so_that_the_whole_compiles(server: Server) -> None:
    answer = ask(server, "/infill", MIDDLE)
    compile(PREFIX + answer["content"] + SUFFIX, "middle.py", "exec")
    assert answer["content"].strip()
    assert answer["stop_type"] == "eos"
    assert answer["prompt"].endswith("<|fim_middle|>")
    assert answer["truncated"] is False
    assert answer["generation_settings"]["n_ctx"] > 0


def test_a_streamed_middle_says_the_same(server: Server) -> None:
    whole = ask(server, "/infill", MIDDLE)
    *texts, last = streamed(server, "/infill", MIDDLE)
    assert "".join(one["content"] for one in texts) == whole["content"]
    assert last["stop"] is True


def test_what_llama_vim_sends_is_answered(server: Server) -> None:
    body = {
        "input_prefix": PREFIX,
        "input_suffix": SUFFIX,
        "input_extra": [{"text": "x = 1\n" * 40, "time": [1, 2], "filename": "a.py"}],
        "prompt": "return ",
        "n_predict": 64,
        "n_indent": 4,
        "top_k": 40,
        "top_p": 0.9,
        "stream": False,
        "samplers": ["top_k", "top_p", "infill"],
        "cache_prompt": True,
        "t_max_prompt_ms": 500,
        "t_max_predict_ms": 1000,
        "response_fields": ["content", "timings/prompt_n", "timings/predicted_n", "truncated"],
    }
    warm_up = body | {"n_predict": 0, "samplers": [], "response_fields": [""], "prompt": ""}
    assert ask(server, "/infill", warm_up) == {}
    answer = ask(server, "/infill", body)
    assert answer.keys() == {
        *("content", "timings/prompt_n", "timings/predicted_n", "truncated"),
    }
    assert isinstance(answer["content"], str)
    typed = ask(server, "/infill", body | {"prompt": "return a", "response_fields": None})
    assert typed["timings"]["cache_n"] > typed["timings"]["prompt_n"]


def test_a_middle_goes_on_from_what_is_typed(server: Server) -> None:
    answer = ask(server, "/infill", MIDDLE | {"prompt": "return "})
    assert answer["content"].strip()
    compile(f"{PREFIX}return {answer['content']}{SUFFIX}", "middle.py", "exec")


def test_a_warm_up_serves_the_request_after_it(server: Server) -> None:
    extra = [{"text": "".join(f"y_{number} = {number}\n" for number in range(30))}]
    warm_up = {"input_prefix": "", "input_suffix": "", "input_extra": extra, "n_predict": 0}
    assert ask(server, "/infill", warm_up)["timings"]["cache_n"] == 0
    answer = ask(server, "/infill", MIDDLE | {"input_extra": extra})
    assert answer["timings"]["cache_n"] > answer["timings"]["prompt_n"]


def test_a_long_file_is_cut_far_from_the_middle(server: Server) -> None:
    body = MIDDLE | {"input_prefix": "x = 1\n" * 20_000 + PREFIX}
    answer = ask(server, "/infill", body)
    assert answer["truncated"] is True
    assert PREFIX in answer["prompt"]


def test_a_completion_has_all_its_numbers(server: Server) -> None:
    body = {"prompt": "The capital of", "n_predict": 5, "temperature": 0, "n_probs": 3}
    answer = ask(server, "/completion", body | {"return_tokens": True, "ignore_eos": True})
    assert (answer["stop_type"], answer["tokens_predicted"]) == ("limit", 5)
    assert len(answer["tokens"]) == len(answer["completion_probabilities"]) == 5
    for token, told in zip(answer["tokens"], answer["completion_probabilities"], strict=True):
        assert told["id"] == token
        assert told["logprob"] <= told["top_logprobs"][0]["logprob"] <= 0
        assert len(told["top_logprobs"]) == 3
    text = ask(server, "/detokenize", {"tokens": answer["tokens"]})["content"]
    assert text == answer["content"]
    assert answer["timings"]["predicted_n"] == 5
    timings = answer["timings"]
    assert timings["prompt_n"] + timings["cache_n"] == answer["tokens_evaluated"]


def test_a_prompt_may_be_text_tokens_or_both(server: Server) -> None:
    tokens = ask(server, "/tokenize", {"content": "Count to 3", "add_special": True})["tokens"]
    body = {"n_predict": 4, "temperature": 0}
    plain = ask(server, "/completion", body | {"prompt": "Count to 3"})
    others = ask(server, "/completion", body | {"prompt": [tokens, "Count to 3"]})
    assert [one["content"] for one in others] == [plain["content"]] * 2
    mixed = ask(server, "/completion", body | {"prompt": [*tokens[:-1], " 3"]})
    assert isinstance(mixed["content"], str)


def test_without_the_cache_the_whole_prompt_is_computed(server: Server) -> None:
    body = {"prompt": "once upon a time " * 12, "n_predict": 1, "temperature": 0}
    ask(server, "/completion", body)
    again = ask(server, "/completion", body)
    assert again["timings"]["cache_n"] > 0
    anew = ask(server, "/completion", body | {"cache_prompt": False})
    assert anew["timings"]["cache_n"] == 0
    assert anew["content"] == again["content"]


def test_a_bias_by_text_forbids_its_tokens(server: Server) -> None:
    body = {"prompt": "def f(", "n_predict": 1, "temperature": 0}
    first = ask(server, "/completion", body)["content"]
    other = ask(server, "/completion", body | {"logit_bias": [[first, False]]})["content"]
    assert other != first


@pytest.mark.parametrize(
    "text", ["Hello, wörld!\n\tx = 1  # 你好 🤗", "", " leading", "<|im_end|>"]
)
def test_a_text_comes_back_from_its_tokens(server: Server, text: str) -> None:
    asked = {"content": text, "with_pieces": True}
    told = ask(server, "/tokenize", asked)["tokens"]
    raw = b"".join(
        one["piece"].encode() if isinstance(one["piece"], str) else bytes(one["piece"])
        for one in told
    )
    assert raw.decode() == text
    ids = [one["id"] for one in told]
    assert ask(server, "/detokenize", {"tokens": ids})["content"] == text
    assert ask(server, "/tokenize", {"content": text})["tokens"] == ids


def test_special_tokens_may_be_read_as_text(server: Server) -> None:
    one = ask(server, "/tokenize", {"content": "<|im_end|>"})["tokens"]
    plain = ask(server, "/tokenize", {"content": "<|im_end|>", "parse_special": False})["tokens"]
    assert len(one) == 1
    assert len(plain) > 1


def test_a_rendered_prompt_is_what_chat_counts(server: Server) -> None:
    body = {"messages": [{"role": "user", "content": "What is the capital of France?"}]}
    prompt = ask(server, "/apply-template", body)["prompt"]
    assert "What is the capital of France?" in prompt
    shorter = ask(server, "/apply-template", body | {"add_generation_prompt": False})["prompt"]
    assert prompt.startswith(shorter)
    assert len(shorter) < len(prompt)
    tokens = ask(server, "/tokenize", {"content": prompt, "add_special": True})["tokens"]
    counted = ask(server, "/v1/chat/completions/input_tokens", body)["input_tokens"]
    usage = ask(server, "/v1/chat/completions", body | {"max_tokens": 1})["usage"]
    assert counted == usage["prompt_tokens"] == len(tokens)


def test_the_properties_are_those_that_requests_get(server: Server) -> None:
    told = server.get("/props").json()
    meta = server.get("/v1/models").json()["data"][0]["meta"]
    assert told["default_generation_settings"]["n_ctx"] == meta["n_ctx"]
    assert told["model_path"].endswith(".gguf")
    assert told["chat_template"]
    assert told["chat_template_caps"]["supports_tools"] is True
    slots = server.get("/slots").json()
    assert len(slots) == told["total_slots"]
    studio = server.get("/api/v0/models").json()["data"][0]
    assert studio["loaded_context_length"] == meta["n_ctx"]
    assert studio["max_context_length"] == meta["n_ctx_train"]


def test_slots_are_told_while_an_answer_runs(server: Server) -> None:
    body = {"prompt": "once", "n_predict": 3000, "ignore_eos": True, "stream": True}
    url = f"{server.url}/completion"
    with httpx2.stream("POST", url, json=body, timeout=WAIT_SECONDS) as response:
        lines = response.iter_lines()
        next(lines)
        busy = [slot for slot in server.get("/slots").json() if slot["is_processing"]]
        assert len(busy) == 1
        assert busy[0]["n_prompt_tokens"] >= 1
        assert busy[0]["params"]["n_predict"] == 3000
    server.wait_until(
        lambda: not any(slot["is_processing"] for slot in server.get("/slots").json())
    )


def test_a_long_prompt_tells_its_progress(server: Server) -> None:
    body = {"prompt": "tell me how far it is " * 150, "n_predict": 2, "return_progress": True}
    body |= {"timings_per_token": True, "cache_prompt": False, "ignore_eos": True}
    told = streamed(server, "/completion", body)
    progress = [one["prompt_progress"] for one in told if "prompt_progress" in one]
    assert progress[0]["processed"] == progress[0]["cache"] == 0
    assert progress[-1]["processed"] == progress[-1]["total"] == told[-1]["tokens_evaluated"]
    processed = [one["processed"] for one in progress]
    assert processed == sorted(set(processed))
    texts = [one for one in told if one["content"]]
    assert all(one["timings"]["prompt_n"] == progress[-1]["total"] for one in texts)


def test_lines_that_come_too_late_are_not_waited_for(server: Server) -> None:
    """A millisecond has passed when the first line ends: it is the last one."""
    lines = "\n".join(f"line {number}" for number in range(40))
    body = {"prompt": f"{lines}\n", "n_predict": 400, "ignore_eos": True, "temperature": 0}
    body |= {"logit_bias": [["\n", 20]], "t_max_predict_ms": 1}
    answer = ask(server, "/completion", body)
    assert answer["tokens_predicted"] < 400
    assert answer["has_new_line"] is True
    assert answer["stop_type"] == "limit"


def test_answers_go_on_beside_each_other(server: Server) -> None:
    alone = ask(server, "/infill", MIDDLE)["content"]
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(ask(server, "/infill", MIDDLE)["content"]))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
    assert answers == [alone] * 6


def test_a_body_that_asks_for_nothing_sensible_is_a_clear_error(server: Server) -> None:
    for path in ("/infill", "/completion", "/detokenize", "/apply-template"):
        response = server.post(path, {"prompt": 7, "tokens": "x", "messages": 3})
        assert response.status_code == 400
        error = response.json()["error"]
        assert (error["code"], error["type"]) == (400, "invalid_request_error")
    refused = server.post("/completion", {"prompt": "x", "grammar": "root ::= ("})
    assert "grammar" in refused.json()["error"]["message"]


def test_a_chat_tells_its_progress_and_its_times(server: Server) -> None:
    question = {"role": "user", "content": "What is the capital of France?"}
    body = {"messages": [question], "temperature": 0, "cache_prompt": False}
    body |= {"return_progress": True, "timings_per_token": True, "stream": True}
    response = server.post("/v1/chat/completions", body)
    frames = [
        json.loads(block.removeprefix("data: "))
        for block in response.text.split("\n\n")
        if block.startswith("data: {")
    ]
    progress = [one["prompt_progress"] for one in frames if "prompt_progress" in one]
    assert progress[0]["processed"] == progress[0]["cache"] == 0
    assert progress[-1]["processed"] == progress[-1]["total"] > 0
    counts = [one["timings"]["predicted_n"] for one in frames if "timings" in one]
    assert counts == sorted(counts)
    assert counts[-1] >= 1
    assert "Paris" in "".join(
        one["choices"][0]["delta"].get("content") or "" for one in frames if one["choices"]
    )
