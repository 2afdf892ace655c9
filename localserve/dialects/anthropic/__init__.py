"""Anthropic's messages: wire format to vocabulary and back.

Knows nothing of HTTP, of other dialects and of who answers. Pure; any thread.
"""

from localserve.dialects.anthropic.answer import MessageAnswer
from localserve.dialects.anthropic.errors import error_answer
from localserve.dialects.anthropic.messages import (
    AskedCount,
    AskedMessage,
    parse_count,
    parse_message,
)

__all__ = [
    "AskedCount",
    "AskedMessage",
    "MessageAnswer",
    "error_answer",
    "parse_count",
    "parse_message",
]
