"""Clients from npm: the `ai` SDK, opencode, Continue, Cline, Claude Code, Codex."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from localserve.connect.served import Served
from tests.clients.conftest import Connect, Shown
from tests.clients.installed import from_npm
from tests.clients.scripted import Scripted, scripted_server, use_tool

pytestmark = pytest.mark.clients

QUESTION = "What is the capital of France?"
SECRET = "The word is heliotrope."

AI_SDK = """
import { generateText, streamText, tool, stepCountIs } from "ai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { z } from "zod";

const provider = createOpenAICompatible({
  name: "localserve", baseURL: process.env.URL, apiKey: "none", includeUsage: true,
});
const model = provider("localserve-tiny");
const streamed = streamText({ model, prompt: "What is the capital of France?", temperature: 0 });
let text = "";
for await (const delta of streamed.textStream) text += delta;
const usage = await streamed.usage;

const used = [];
const weather = tool({
  description: "Get the current weather of a city",
  inputSchema: z.object({ city: z.string().describe("Name of the city") }),
  execute: async (input) => { used.push(input); return '{"temperature": 21, "sky": "sunny"}'; },
});
const answer = await generateText({
  model, temperature: 0, tools: { get_weather: weather }, stopWhen: stepCountIs(3),
  prompt: "What is the weather in Paris?",
});
console.log(JSON.stringify({ text, usage, used, answer: answer.text }));
"""


def test_the_ai_sdk_streams_and_uses_a_tool(served: Served, tmp_path: Path, shown: Shown) -> None:
    sdk = from_npm("ai", "@ai-sdk/openai-compatible", "zod")
    script = sdk.folder / "turn.mjs"
    script.write_text(AI_SDK)
    said = sdk.run("node", str(script), home=tmp_path, environ={"URL": served.v1})
    document = json.loads(said.splitlines()[-1])
    assert "Paris" in document["text"]
    assert document["usage"]["outputTokens"] > 0
    assert document["used"] == [{"city": "Paris"}]
    assert "21" in document["answer"]
    shown(sdk, "built-in", "a streamed answer; a tool call, its result used")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder with a file that says something."""
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "secret.txt").write_text(f"{SECRET}\n")
    return folder


def assert_the_result_came_back(server: Scripted) -> None:
    results = [
        message.content or ""
        for request in server.chats
        for message in request.messages
        if message.role == "tool"
    ]
    assert any(SECRET in result for result in results), results


def test_opencode_completes_a_turn(
    served: Served, tmp_path: Path, work: Path, connect: Connect, shown: Shown
) -> None:
    opencode = from_npm("opencode-ai")
    connect("opencode", served, tmp_path / "home")
    opencode.run("opencode", "run", QUESTION, home=tmp_path / "home", cwd=work)
    shown(opencode, "built-in", "a turn")


def test_opencode_reads_a_file_and_uses_what_it_says(
    tmp_path: Path, work: Path, connect: Connect, shown: Shown
) -> None:
    opencode = from_npm("opencode-ai")
    with scripted_server(use_tool(["read"], {"filePath": str(work / "secret.txt")})) as server:
        connect("opencode", server.served, tmp_path / "home")
        said = opencode.run(
            "opencode", "run", "What is the word?", home=tmp_path / "home", cwd=work
        )
        assert_the_result_came_back(server)
    assert SECRET in said
    shown(opencode, "scripted", "a tool call, its result used")


def test_continue_reads_a_file_and_uses_what_it_says(
    tmp_path: Path, work: Path, connect: Connect, shown: Shown
) -> None:
    cn = from_npm("@continuedev/cli")
    with scripted_server(use_tool(["Read"], {"filepath": str(work / "secret.txt")})) as server:
        connect("continue", server.served, tmp_path / "home")
        said = cn.run("cn", "-p", "What is the word?", home=tmp_path / "home", cwd=work)
        assert_the_result_came_back(server)
    assert SECRET in said
    shown(cn, "scripted", "a tool call, its result used")


def test_cline_completes_a_turn(
    served: Served, tmp_path: Path, work: Path, connect: Connect, shown: Shown
) -> None:
    cline = from_npm("cline")
    connect("cline", served, tmp_path / "home")
    said = cline.run("cline", "--json", QUESTION, home=tmp_path / "home", cwd=work)
    result = json.loads(said.splitlines()[-1])
    assert (result["type"], result["finishReason"]) == ("run_result", "completed")
    assert result["usage"]["outputTokens"] > 0
    shown(cline, "built-in", "a turn")


def test_claude_code_reads_a_file_and_uses_what_it_says(
    tmp_path: Path, work: Path, connect: Connect, shown: Shown
) -> None:
    claude = from_npm("@anthropic-ai/claude-code")
    with scripted_server(use_tool(["Read"], {"file_path": str(work / "secret.txt")})) as server:
        connect("claude-code", server.served, tmp_path / "home")
        said = claude.run(
            "claude",
            "-p",
            "What is the word?",
            "--allowedTools",
            "Read",
            home=tmp_path / "home",
            cwd=work,
        )
        assert_the_result_came_back(server)
    assert SECRET in said
    shown(claude, "scripted", "a tool call, its result used")


def test_codex_completes_a_turn(
    served: Served, tmp_path: Path, work: Path, connect: Connect, shown: Shown
) -> None:
    codex = from_npm("@openai/codex")
    connect("codex", served, tmp_path / "home")
    codex.run("codex", "exec", "--skip-git-repo-check", QUESTION, home=tmp_path / "home", cwd=work)
    shown(codex, "built-in", "a turn")


def test_codex_runs_a_command_and_uses_what_it_says(
    tmp_path: Path, work: Path, connect: Connect, shown: Shown
) -> None:
    command = {"command": ["cat", "secret.txt"], "cmd": "cat secret.txt"}
    with scripted_server(use_tool(["exec_command", "shell"], command)) as server:
        codex = from_npm("@openai/codex")
        connect("codex", server.served, tmp_path / "home")
        options = ("--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox")
        said = codex.run(
            "codex", "exec", *options, "What is the word?", home=tmp_path / "home", cwd=work
        )
        assert_the_result_came_back(server)
    assert SECRET in said
    shown(codex, "scripted", "a tool call, its result used")
