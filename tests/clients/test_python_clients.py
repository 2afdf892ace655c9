"""Clients from PyPI: llm, litellm, aider."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localserve.chat import ChatRequest
from localserve.connect.served import Served
from tests.clients.conftest import Connect, Shown
from tests.clients.installed import from_pypi
from tests.clients.scripted import scripted_server

pytestmark = pytest.mark.clients

LLM_TOOL = '''
def get_weather(city: str) -> str:
    """Get the current weather of a city"""
    return "21 degrees and sunny"
'''

LITELLM = """
import json, sys
import litellm

url, = sys.argv[1:]
options = dict(model="openai/localserve-tiny", api_base=url, api_key="none", temperature=0)
asked = {"role": "user", "content": "What is the capital of France?"}
chunks = litellm.completion(messages=[asked], stream=True, **options)
text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

city = {"type": "string", "description": "Name of the city"}
tool = {"type": "function", "function": {
    "name": "get_weather",
    "description": "Get the current weather of a city",
    "parameters": {"type": "object", "properties": {"city": city}, "required": ["city"]},
}}
messages = [{"role": "user", "content": "What is the weather in Paris?"}]
message = litellm.completion(messages=messages, tools=[tool], **options).choices[0].message
call = message.tool_calls[0]
messages += [message, {
    "role": "tool", "tool_call_id": call.id, "content": '{"temperature": 21, "sky": "sunny"}',
}]
answer = litellm.completion(messages=messages, tools=[tool], **options).choices[0].message.content
print(json.dumps({"text": text, "arguments": call.function.arguments, "answer": answer}))
"""

EDIT = """\
greeting.py
```python
<<<<<<< SEARCH
print("Hello")
=======
print("Goodbye")
>>>>>>> REPLACE
```
"""


def test_llm_answers_and_uses_a_tool(served: Served, tmp_path: Path, shown: Shown) -> None:
    llm = from_pypi("llm")
    models = tmp_path / "llm" / "extra-openai-models.yaml"
    models.parent.mkdir()
    entry = {"model_id": "tiny", "model_name": "localserve-tiny", "api_base": served.v1}
    models.write_text(json.dumps([{**entry, "supports_tools": True}]))  # JSON is YAML
    environ = {"LLM_USER_PATH": str(models.parent), "OPENAI_API_KEY": "none"}
    said = llm.run(
        "llm", "-m", "tiny", "What is the capital of France?", home=tmp_path, environ=environ
    )
    assert "Paris" in said
    options = ("--functions", LLM_TOOL, "-o", "temperature", "0")
    said = llm.run(
        "llm",
        "-m",
        "tiny",
        *options,
        "What is the weather in Paris?",
        home=tmp_path,
        environ=environ,
    )
    assert "21" in said
    shown(llm, "built-in", "an answer; a tool call, its result used")


def test_litellm_answers_and_uses_a_tool(served: Served, tmp_path: Path, shown: Shown) -> None:
    litellm = from_pypi("litellm")
    said = litellm.run(
        "python",
        "-c",
        LITELLM,
        served.v1,
        home=tmp_path,
        environ={"LITELLM_LOCAL_MODEL_COST_MAP": "1"},
    )
    document = json.loads(said.splitlines()[-1])
    assert "Paris" in document["text"]
    assert json.loads(document["arguments"]) == {"city": "Paris"}
    assert "21" in document["answer"]
    shown(litellm, "built-in", "a streamed answer; a tool call, its result used")


AIDER_OPTIONS = (
    "--no-git",
    "--yes-always",
    "--no-check-update",
    "--no-show-release-notes",
    "--no-gitignore",
    "--no-fancy-input",
    "--no-pretty",
    "--analytics-disable",
    "--map-tokens",
    "0",
)


def test_aider_answers(served: Served, tmp_path: Path, connect: Connect, shown: Shown) -> None:
    aider = from_pypi("aider-chat")
    connect("aider", served, tmp_path / "home")
    asked = ("--edit-format", "ask", "--message", "What is the capital of France?")
    said = aider.run("aider", *AIDER_OPTIONS, *asked, home=tmp_path / "home")
    assert "openai/localserve-tiny" in said
    assert "Tokens:" in said
    shown(aider, "built-in", "an answer")


def test_aider_edits_a_file(tmp_path: Path, connect: Connect, shown: Shown) -> None:
    def part(request: ChatRequest) -> str:
        return EDIT

    aider = from_pypi("aider-chat")
    file = tmp_path / "work" / "greeting.py"
    file.parent.mkdir()
    file.write_text('print("Hello")\n')
    with scripted_server(part) as server:
        connect("aider", server.served, tmp_path / "home")
        asked = ("--edit-format", "diff", "--message", "Say goodbye instead.", file.name)
        aider.run("aider", *AIDER_OPTIONS, *asked, home=tmp_path / "home", cwd=file.parent)
        assert len(server.chats) == 1
    assert file.read_text() == 'print("Goodbye")\n'
    shown(aider, "scripted", "an edit of a file")
