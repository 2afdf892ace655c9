"""Anthropic's two kinds of questions: messages, and how many tokens their prompt has."""

from __future__ import annotations

from localserve.chat import ChatRequest, TokenCount
from localserve.dialects.anthropic import AskedMessage, MessageAnswer, parse_count, parse_message
from localserve.server import chat, vectors

MESSAGE: chat.Exchange[AskedMessage] = chat.Exchange(parse_message, lambda asked: MessageAnswer())

COUNT: vectors.Exchange[ChatRequest, TokenCount] = vectors.Exchange(
    parse_count,
    lambda backend, request: backend.count_tokens(request),
    lambda request: 1,
    computes=False,
)
