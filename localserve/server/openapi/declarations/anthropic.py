"""Anthropic's routes as they are described. Pure."""

from __future__ import annotations

from localserve.dialects.anthropic.messages import MessagesBody
from localserve.server.openapi import bodies
from localserve.server.openapi.declarations.examples import HELLO
from localserve.server.openapi.declared import ANSWERS, AT_ONCE, EVENTS, Declared, Dialect

ANTHROPIC = Dialect("Anthropic", "Anthropic's API.", bodies.AnthropicProblem, {422: 400, 503: 529})

ROUTES: tuple[Declared, ...] = (
    Declared(
        "POST",
        "/v1/messages",
        ANTHROPIC,
        "Answer a conversation",
        bodies.AnthropicMessage,
        MessagesBody,
        {"model": "", "messages": HELLO, "max_tokens": 16},
        ANSWERS,
        stream=EVENTS,
    ),
    Declared(
        "POST",
        "/v1/messages/count_tokens",
        ANTHROPIC,
        "Count the tokens of a conversation",
        bodies.TokenTotal,
        MessagesBody,
        {"model": "", "messages": HELLO},
        AT_ONCE,
    ),
)
