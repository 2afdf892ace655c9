"""Questions that examples of several APIs ask. Pure."""

from __future__ import annotations

HELLO = [{"role": "user", "content": "What is the capital of France?"}]
CHAT = {"messages": HELLO, "max_tokens": 16, "temperature": 0}
TEXT = {"prompt": "The capital of France is", "max_tokens": 16, "temperature": 0}
VECTOR = {"input": "A text that is made a vector."}
