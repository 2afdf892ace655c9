"""Answers to `/completion` and `/infill`: an object for each, streamed or whole.

A stream has an object for what one hand-over brings of a choice, and a last one with all numbers.
A whole answer is that last object with the text, or a list of them where there are several. Pure.
Source: server_task_result_cmpl_final and _partial in llama.cpp's server-task.cpp.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from localserve.chat import (
    Accepted,
    ChatEvent,
    Finished,
    PromptProgress,
    TextDelta,
    TokenLogprob,
)
from localserve.dialects.llama_server.asked import Telling
from localserve.dialects.llama_server.errors import error_event
from localserve.dialects.llama_server.settings import settings_fields
from localserve.dialects.timings import Speed, progress_fields, timing_fields
from localserve.errors import LocalserveError

NO_SLOT = -1
"""Answers have no slot of their own to come back to."""

LOWEST_LOGPROB = -9999.0
"""Stands for minus infinity, which JSON cannot say."""


@dataclass(slots=True)
class Written:
    """One choice so far."""

    texts: list[str] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprob] = field(default_factory=list)
    count: int = 0
    new_line: bool = False
    prompt_tokens: int | None = None

    def add(self, delta: TextDelta) -> None:
        self.count += len(delta.tokens)
        self.new_line = self.new_line or "\n" in delta.text


class NativeAnswer:
    """Renders the events of one request."""

    media_type = "text/event-stream; charset=utf-8"
    told_in_stream: tuple[type[LocalserveError], ...] = ()

    def __init__(self, *, choices: int, telling: Telling) -> None:
        self._telling = telling
        self._written = [Written() for _ in range(choices)]
        self._accepted = Accepted("", 0)
        self._speed = Speed()

    def stream(self, events: Sequence[ChatEvent]) -> str:
        """What `events` bring, as server-sent events."""
        return "".join([f"data: {_json(fields)}\n\n" for fields in self._objects(events)])

    def keepalive(self) -> str:
        """A comment, which clients overlook."""
        return ": keepalive\n\n"

    def stream_error(self, error: LocalserveError) -> str:
        """The last event of a stream that fails."""
        return error_event(error)

    def body(self, events: Iterable[ChatEvent]) -> str:
        """The whole answer."""
        ended: dict[int, Finished] = {}
        for event in events:
            match event:
                case Accepted():
                    self._accepted = event
                case TextDelta():
                    one = self._written[event.choice]
                    one.add(event)
                    one.texts.append(event.text)
                    one.tokens += event.tokens
                    one.logprobs += event.logprobs
                case Finished():
                    ended[event.choice] = event
                case _:
                    pass
        answers = [self._whole(ended[choice]) for choice in range(len(self._written))]
        return _json(answers[0] if len(answers) == 1 else answers)

    def _objects(self, events: Sequence[ChatEvent]) -> Iterator[dict[str, object]]:
        deltas: dict[int, list[TextDelta]] = {}
        for event in events:
            self._speed.observe(event)
            match event:
                case Accepted():
                    self._accepted = event
                case PromptProgress():
                    self._written[event.choice].prompt_tokens = event.prompt_tokens
                    if self._telling.progress:
                        progress = {"prompt_progress": progress_fields(event)}
                        yield self._partial(event.choice) | self._timings(event.choice) | progress
                case TextDelta():
                    deltas.setdefault(event.choice, []).append(event)
                case Finished():
                    yield from self._texts(event.choice, deltas.pop(event.choice, []))
                    yield self._end(event)
                case _:
                    pass
        for choice, texts in deltas.items():
            yield from self._texts(choice, texts)

    def _texts(self, choice: int, deltas: list[TextDelta]) -> Iterator[dict[str, object]]:
        """One object for the deltas of one hand-over."""
        text = "".join(delta.text for delta in deltas)
        tokens = [token for delta in deltas for token in delta.tokens]
        logprobs = [score for delta in deltas for score in delta.logprobs]
        if not text and not tokens:
            return
        for delta in deltas:
            self._written[choice].add(delta)
        fields = self._partial(choice) | self._timings(choice)
        fields |= {"content": text, "tokens": tokens}
        if logprobs:
            fields["completion_probabilities"] = _probabilities(logprobs)
        yield fields

    def _partial(self, choice: int) -> dict[str, object]:
        return {
            "index": choice,
            "content": "",
            "tokens": [],
            "stop": False,
            "id_slot": NO_SLOT,
            "tokens_predicted": self._written[choice].count,
            "tokens_evaluated": self._prompt_tokens(choice),
        }

    def _timings(self, choice: int) -> dict[str, object]:
        """Of one choice so far, where that is asked for."""
        return {"timings": self._speed.fields(choice)} if self._telling.timings else {}

    def _prompt_tokens(self, choice: int) -> int:
        counted = self._written[choice].prompt_tokens
        return self._accepted.prompt_tokens if counted is None else counted

    def _end(self, end: Finished) -> dict[str, object]:
        """The last object of a stream, whose text has been sent."""
        route: dict[str, object] = {"localserve_route": end.route} if end.route else {}
        return self._selected(self._last(end) | {"content": "", "tokens": []}) | route

    def _whole(self, end: Finished) -> dict[str, object]:
        one = self._written[end.choice]
        fields = self._last(end) | {"content": "".join(one.texts)}
        fields["tokens"] = one.tokens if self._telling.tokens else []
        if self._telling.probabilities:
            fields["completion_probabilities"] = _probabilities(one.logprobs)
        return self._selected(fields)

    def _last(self, end: Finished) -> dict[str, object]:
        accepted, usage, generation = self._accepted, end.usage, self._accepted.generation
        whole = usage.prompt_tokens + usage.completion_tokens
        full = end.reason == "length" and whole >= accepted.context_tokens
        settings = settings_fields(
            generation.sampling,
            max_tokens=generation.max_tokens,
            stop=generation.stop,
            ignore_eos=generation.ignore_eos,
            stream=self._telling.stream,
            probabilities=self._telling.probabilities,
            timings=self._telling.timings,
        )
        return {
            "index": end.choice,
            "content": "",
            "tokens": [],
            "id_slot": NO_SLOT,
            "stop": True,
            "model": accepted.model,
            "tokens_predicted": usage.completion_tokens,
            "tokens_evaluated": usage.prompt_tokens,
            "generation_settings": {"n_ctx": accepted.context_tokens, **settings},
            "prompt": self._prompt(end.choice),
            "has_new_line": self._written[end.choice].new_line,
            "truncated": full or accepted.left_out_tokens > 0,
            "stop_type": _stop_type(end),
            "stopping_word": end.stop_text or "",
            "tokens_cached": max(0, whole - 1),
            "timings": timing_fields(usage, end.timings),
        }

    def _prompt(self, choice: int) -> str:
        prompts = self._accepted.prompts
        if not prompts:
            return ""
        return prompts[choice * len(prompts) // len(self._written)]

    def _selected(self, fields: dict[str, object]) -> dict[str, object]:
        """What was asked for of the last object; what there is not is left out."""
        if self._telling.fields is None:
            return fields
        found = {path: _member(fields, path) for path in self._telling.fields}
        return {path: value for path, value in found.items() if value is not _MISSING}


_MISSING = object()


def _member(fields: object, path: str) -> object:
    for name in path.split("/"):
        if not isinstance(fields, dict) or name not in fields:
            return _MISSING
        fields = fields[name]
    return fields


def _stop_type(end: Finished) -> str:
    if end.reason == "length":
        return "limit"
    return "eos" if end.stop_text is None else "word"


def _probabilities(tokens: Iterable[TokenLogprob]) -> list[dict[str, object]]:
    return [
        {**_token(token), "top_logprobs": [_token(other) for other in token.top]}
        for token in tokens
    ]


def _token(token: TokenLogprob) -> dict[str, object]:
    return {
        "id": token.token,
        "token": token.text,
        "bytes": list(token.raw),
        "logprob": max(token.logprob, LOWEST_LOGPROB),
    }


def _json(value: object) -> str:
    """In ASCII: no line separator of Unicode can end a line of a stream early."""
    return json.dumps(value, separators=(",", ":"))
