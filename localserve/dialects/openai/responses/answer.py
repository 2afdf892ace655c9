"""A response: items, either as events of a stream or as one body.

Pure; knows nothing of HTTP. Source: OpenAI's API reference, 'Responses' and 'Streaming events'.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import assert_never
from uuid import uuid4

from localserve.chat import (
    Accepted,
    AnswerProgress,
    ArgumentsDelta,
    ChatEvent,
    Completed,
    Delta,
    Finished,
    PromptProgress,
    ReasoningDelta,
    TextDelta,
    ToolCallBegun,
    Usage,
)
from localserve.dialects.openai.responses.items import Item, OwnItem
from localserve.dialects.openai.responses.output import Call, Fields, Output, Reasoning, Text
from localserve.dialects.openai.responses.request import AskedResponse
from localserve.errors import ContextOverflow, InvalidRequest, LocalserveError


@dataclass(frozen=True, slots=True)
class Given:
    """A response that was given. `body` is its JSON, `output` what it said, `items` the whole
    conversation up to its end."""

    id: str
    body: str
    output: tuple[OwnItem, ...]
    items: tuple[Item, ...]


class ResponseAnswer:
    """Renders the events of one request. One item is open at a time; the next one closes it.

    `keep` is called with the whole response, if it comes to that.
    """

    media_type = "text/event-stream; charset=utf-8"
    told_in_stream: tuple[type[LocalserveError], ...] = (ContextOverflow,)

    def __init__(self, asked: AskedResponse, keep: Callable[[Given], None]) -> None:
        self.id = f"resp_{uuid4().hex}"
        self.created = int(time.time())
        self._asked = asked
        self._keep = keep
        self._model = asked.request.model
        self._number = 0
        self._done: list[Output] = []
        self._open: Output | None = None
        self._end = Finished(0, "stop")
        self._begun = False

    def stream(self, events: Sequence[ChatEvent]) -> str:
        """The events of `events`, as server-sent events."""
        return self._sent(fields for event in events for fields in self._news(event))

    def keepalive(self) -> str:
        """An event rather than a comment: there are clients that count only those."""
        return self._sent(self._begin() if not self._begun else self._in_progress())

    def stream_error(self, error: LocalserveError) -> str:
        """The last events of a stream that fails."""
        code = "server_error"
        if isinstance(error, InvalidRequest):
            code = error.code if isinstance(error, ContextOverflow) else "invalid_prompt"
        failed = self._response("failed") | {"error": {"code": code, "message": str(error)}}
        begun = "" if self._begun else self._sent(self._begin())
        return begun + self._sent([{"type": "response.failed", "response": failed}])

    def body(self, events: Iterable[ChatEvent]) -> str:
        """The whole response as one JSON object."""
        news = (fields for event in events for fields in self._news(event))
        completed = deque(news, maxlen=1).pop()
        return _json(completed["response"])

    def _sent(self, events: Iterable[Fields]) -> str:
        """Numbered."""
        texts: list[str] = []
        for fields in events:
            kind, rest = fields["type"], {**fields, "sequence_number": self._number}
            texts.append(f"event: {kind}\ndata: {_json(rest)}\n\n")
            self._number += 1
        return "".join(texts)

    def _news(self, event: ChatEvent) -> Iterator[Fields]:
        match event:
            case Accepted():
                self._model = event.model
                if not self._begun:
                    yield from self._begin()
            case Finished():
                self._end = event
                yield from self._close("incomplete" if event.reason == "length" else "completed")
            case Completed():
                completed: Fields = {
                    "type": "response.completed",
                    "response": self._complete(event.usage),
                }
                if event.route:
                    completed["localserve_route"] = event.route
                yield completed
            case PromptProgress() | AnswerProgress():
                pass
            case _:
                yield from self._more(event)

    def _begin(self) -> Iterator[Fields]:
        self._begun = True
        yield {"type": "response.created", "response": self._response("in_progress")}
        yield from self._in_progress()

    def _in_progress(self) -> Iterator[Fields]:
        yield {"type": "response.in_progress", "response": self._response("in_progress")}

    def _more(self, delta: Delta) -> Iterator[Fields]:
        match delta:
            case TextDelta():
                if delta.text:
                    yield from self._add(delta.text, Text)
            case ReasoningDelta():
                yield from self._add(delta.text, Reasoning)
            case ToolCallBegun():
                yield from self._close("completed")
                yield from self._start(Call(len(self._done), delta))
            case ArgumentsDelta():
                assert self._open is not None, "a call begins before its arguments"
                yield self._open.more(delta.text)
            case _ as never:
                assert_never(never)

    def _add(self, text: str, kind: type[Text | Reasoning]) -> Iterator[Fields]:
        """More of the open item, or a new one where that is of another kind."""
        if not isinstance(self._open, kind):
            yield from self._close("completed")
            yield from self._start(kind(len(self._done)))
        assert self._open is not None
        yield self._open.more(text)

    def _start(self, output: Output) -> Iterator[Fields]:
        self._open = output
        yield from output.begin()

    def _close(self, status: str) -> Iterator[Fields]:
        if self._open is not None:
            yield from self._open.end(status)
            self._done.append(self._open)
            self._open = None

    def _complete(self, usage: Usage) -> Fields:
        """The whole response, which is kept. One that was cut off is completed, too: there are
        clients that take `response.incomplete` for a failure."""
        cut = self._end.reason == "length"
        response = self._response("incomplete" if cut else "completed")
        if cut:
            response["incomplete_details"] = {"reason": "max_output_tokens"}
        response["usage"] = _usage_fields(usage)
        own = tuple(output.item() for output in self._done)
        self._keep(Given(self.id, _json(response), own, (*self._asked.items, *own)))
        return response

    def _response(self, status: str) -> Fields:
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "model": self._model,
            "output": [output.fields() for output in self._done],
            "usage": None,
            **self._asked.echo,
        }


def _usage_fields(usage: Usage) -> Fields:
    """Tokens of reasoning are not counted apart."""
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_tokens},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }


def _json(fields: object) -> str:
    """In ASCII: no line separator of Unicode can end a line of a stream early."""
    return json.dumps(fields, separators=(",", ":"))
