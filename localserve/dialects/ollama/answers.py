"""The answers of chat and generate: one object, or a stream with an object a line.

Lines are ASCII, so that no line separator of Unicode ends one early. There are no comments in this
format: while nothing comes, a stream has lines without text. Pure; knows nothing of HTTP.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from localserve.chat import ChatEvent, Completed, TokenLogprob
from localserve.dialects.ollama.asked import Asked
from localserve.dialects.ollama.errors import error_line
from localserve.dialects.ollama.generate import Generate
from localserve.dialects.ollama.parts import Called, Part, Parts, Said, Thought
from localserve.dialects.ollama.times import nanoseconds, now_text
from localserve.errors import LocalserveError

LOWEST_LOGPROB = -9999.0
"""Stands for minus infinity, which JSON cannot say."""


Fields = dict[str, Any]


class Answer(ABC):
    """Renders the events of one request."""

    media_type = "application/x-ndjson"
    told_in_stream: tuple[type[LocalserveError], ...] = ()

    def __init__(self, asked: Asked[Generate]) -> None:
        self._model = asked.model
        self._clock = asked.clock
        self._parts = Parts()

    def stream(self, events: Sequence[ChatEvent]) -> str:
        """The lines that these events bring; none where a call has only begun."""
        parts = self._parts.take(events)
        lines = [self._head() | self._fields([part]) | {"done": False} for part in parts]
        if self._parts.end is not None:
            lines.append(self._head() | self._text("") | self._counts(self._parts.end))
        return "".join(map(_line, lines))

    def keepalive(self) -> str:
        """A line that says nothing."""
        return _line(self._head() | self._text("") | {"done": False})

    def stream_error(self, error: LocalserveError) -> str:
        """The last line of a stream that fails."""
        return error_line(error)

    def body(self, events: Iterable[ChatEvent]) -> str:
        """The whole answer."""
        parts = self._parts.take(events)
        assert self._parts.end is not None, "the events of an answer end with Completed"
        return json.dumps(
            self._head() | self._fields(parts) | self._counts(self._parts.end),
            separators=(",", ":"),
        )

    @classmethod
    def nothing(cls, model: str, reason: str) -> Fields:
        """The answer to an empty request: the model was loaded, or unloaded."""
        head = {"model": model, "created_at": now_text()}
        return head | cls._text("") | {"done": True, "done_reason": reason}

    def _head(self) -> Fields:
        return {"model": self._model or self._parts.model, "created_at": now_text()}

    def _counts(self, end: Completed) -> Fields:
        """How the answer ended, its tokens and times.

        `timed_tokens` came in the time of the answer, which begins with the first: it is stretched
        to all of them, so that the rate is the one that was measured.
        """
        usage, timings = end.usage, end.timings
        per_token_ms = timings.answer_ms / timings.timed_tokens if timings.timed_tokens else 0.0
        times = {}
        if self._clock is not None:
            times = {
                "total_duration": nanoseconds(self._clock.elapsed_ms),
                "load_duration": nanoseconds(self._clock.load_ms),
            }
        return {
            "done": True,
            "done_reason": self._parts.reason,
            **times,
            "prompt_eval_count": usage.prompt_tokens,
            "prompt_eval_duration": nanoseconds(timings.prompt_ms),
            "eval_count": usage.completion_tokens,
            "eval_duration": nanoseconds(per_token_ms * usage.completion_tokens),
            **({"localserve_route": end.route} if end.route else {}),
        }

    def _fields(self, parts: Sequence[Part]) -> Fields:
        """All of an answer but its head and its end."""
        fields = self._text("".join(part.text for part in parts if isinstance(part, Said)))
        scored = [one for part in parts if isinstance(part, Said) for one in part.logprobs]
        thinking = "".join(part.text for part in parts if isinstance(part, Thought))
        if thinking:
            self._inside(fields)["thinking"] = thinking
        calls = [_call_fields(part) for part in parts if isinstance(part, Called)]
        if calls:
            self._inside(fields)["tool_calls"] = calls
        return fields | _logprob_fields(scored)

    @staticmethod
    @abstractmethod
    def _text(text: str) -> Fields:
        """Where the text of an answer stands."""

    @staticmethod
    @abstractmethod
    def _inside(fields: Fields) -> Fields:
        """Where its thinking and its calls stand."""


class ChatAnswer(Answer):
    """All of the answer but its end is a message."""

    @staticmethod
    def _text(text: str) -> Fields:
        return {"message": {"role": "assistant", "content": text}}

    @staticmethod
    def _inside(fields: Fields) -> Fields:
        message: Fields = fields["message"]
        return message


class GenerateAnswer(Answer):
    """The text is `response`, thinking stands beside it."""

    @staticmethod
    def _text(text: str) -> Fields:
        return {"response": text}

    @staticmethod
    def _inside(fields: Fields) -> Fields:
        return fields


def _line(fields: Fields) -> str:
    return json.dumps(fields, separators=(",", ":")) + "\n"


def _call_fields(call: Called) -> Fields:
    function = {"index": call.index, "name": call.name, "arguments": call.arguments}
    return {"id": call.id, "function": function}


def _logprob_fields(tokens: Sequence[TokenLogprob]) -> Fields:
    """Nothing where none were asked for."""
    if not tokens:
        return {}
    scored = [
        {**_token_fields(token), "top_logprobs": [_token_fields(top) for top in token.top]}
        for token in tokens
    ]
    return {"logprobs": scored}


def _token_fields(token: TokenLogprob) -> Fields:
    logprob = max(token.logprob, LOWEST_LOGPROB)
    return {"token": token.text, "logprob": logprob, "bytes": list(token.raw)}
