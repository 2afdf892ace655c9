"""What a chat body comes to without an answer: the number of its tokens, or the prompt itself.

`POST /v1/chat/completions/input_tokens` and `/apply-template`, both llama-server's. Knows nothing
of HTTP and of templates. Any thread.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from localserve.chat import ChatRequest, TokenCount
from localserve.dialects.openai.chat import ChatBody, chat_request
from localserve.dialects.schema import read_json


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """The prompt of a conversation. Its tokens are not counted."""

    model: str
    text: str
    prompt_tokens: None = None


@dataclass(frozen=True, slots=True)
class AskedCount:
    """A count of tokens is wanted."""

    request: ChatRequest

    def render(self, answer: TokenCount) -> bytes:
        """The answer's body."""
        fields = {"object": "response.input_tokens", "input_tokens": answer.prompt_tokens}
        return json.dumps(fields).encode()


@dataclass(frozen=True, slots=True)
class Rendering:
    """A conversation to be rendered; without `generation_prompt` only up to its last message."""

    chat: ChatRequest
    generation_prompt: bool

    @property
    def model(self) -> str:
        return self.chat.model


@dataclass(frozen=True, slots=True)
class AskedPrompt:
    """A prompt is wanted."""

    request: Rendering

    def render(self, answer: RenderedPrompt) -> bytes:
        """The answer's body."""
        return json.dumps({"prompt": answer.text}).encode()


def parse_count(body: bytes) -> AskedCount:
    """Read a chat request whose tokens are to be counted. Raises as `parse_chat`."""
    return AskedCount(chat_request(read_json(ChatBody, body)))


def parse_prompt(body: bytes) -> AskedPrompt:
    """Read a chat request whose prompt is wanted. Raises as `parse_chat`."""
    chat = read_json(ChatBody, body)
    return AskedPrompt(Rendering(chat_request(chat), chat.add_generation_prompt is not False))
