"""Where in a prompt the next one of its conversation is likely to part from it.

Pure; any thread. Knows nothing of templates: it looks for the messages' words in what was rendered.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate

from localserve.chat import Message


def checkpoints(
    messages: Sequence[Message],
    prompt: str,
    tokens: Sequence[int],
    spelling: Callable[[int], bytes],
) -> tuple[int, ...]:
    """Numbers of tokens, rising: before the last user's words (they may be edited), and behind the
    last message (its answer may come back changed). Those that are not found are left out.

    `tokens` are the prompt's and `spelling` gives their bytes, control tokens included.
    """
    ends = list(accumulate(len(spelling(token)) for token in tokens))
    surplus = ends[-1] - len(prompt.encode("utf-8", "surrogatepass"))
    found: set[int] = set()
    for place in _places(messages, prompt):
        # What the tokenizer put in front, a token or a blank, is not in the text.
        place_bytes = len(prompt[:place].encode("utf-8", "surrogatepass")) + surplus
        found.add(bisect_right(ends, place_bytes))
    return tuple(sorted(found - {0, len(tokens)}))


def _places(messages: Sequence[Message], prompt: str) -> list[int]:
    """Positions in the prompt's characters."""
    places: list[int] = []
    users = [message for message in messages if message.role == "user"]
    for message in users[-1:]:
        words = (message.content or "").strip()
        if words and (start := prompt.rfind(words)) >= 0:
            places.append(start)
    for message in messages[-1:]:
        words = (message.content or "").strip()
        if words and message.role != "assistant" and (start := prompt.rfind(words)) >= 0:
            places.append(start + len(words))
    return places
