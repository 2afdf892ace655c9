"""A conversation with a model of a running server, over HTTP. No command of its own; prints
nothing."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from localserve.cli.reach import LOAD_SECONDS, NoServer, client_of
from localserve.errors import LocalserveError
from localserve.server.running import RunningServer

DATA: Final = "data:"
END: Final = "[DONE]"


@dataclass(frozen=True, slots=True)
class Piece:
    """Some more of an answer."""

    text: str
    reasoning: bool = False


@dataclass(frozen=True, slots=True)
class Counts:
    """What an answer took. Times in milliseconds; the rate is that of the tokens after the first,
    0 where there were none."""

    model: str
    prompt_tokens: int
    cached_tokens: int
    answer_tokens: int
    prompt_ms: float
    tokens_per_second: float
    finish_reason: str


@dataclass(slots=True)
class Dialogue:
    """The messages so far, and who answers them. `last` are the counts of the last answer, None
    where it did not come to its end."""

    server: RunningServer
    model: str | None = None
    system: str | None = None
    max_tokens: int | None = None
    messages: list[dict[str, str]] = field(default_factory=list)
    last: Counts | None = None

    def answer(self, text: str) -> Generator[Piece, None, None]:
        """Say something; the answer as it comes. Closing the generator stops the answer.

        What was said and answered is remembered, also of an answer that was stopped; but nothing of
        a turn that brought no text. Raises: LocalserveError, with the server's own words.
        """
        self.last = None
        said = {"role": "user", "content": text}
        parts: list[str] = []
        try:
            with closing(self._stream([*self.messages, said])) as pieces:
                for piece in pieces:
                    if not piece.reasoning:
                        parts.append(piece.text)
                    yield piece
        finally:
            if parts:
                answered = {"role": "assistant", "content": "".join(parts)}
                self.messages += [said, answered]

    def clear(self) -> None:
        """Forget all that was said; the system prompt stays."""
        self.messages.clear()
        self.last = None

    def _stream(self, messages: list[dict[str, str]]) -> Generator[Piece, None, None]:
        import httpx2

        try:
            with (
                client_of(self.server.owner_key, LOAD_SECONDS) as client,
                client.stream(
                    "POST", f"{self.server.url}/v1/chat/completions", json=self._body(messages)
                ) as response,
            ):
                if response.is_error:
                    _refuse(response.read())
                yield from self._pieces(response.iter_lines())
        except httpx2.HTTPError as error:
            raise NoServer(
                f"The server at {self.server.url} broke off: {error or type(error).__name__}.",
                hint="`localserve logs` says what it was doing.",
            ) from None

    def _body(self, messages: list[dict[str, str]]) -> dict[str, Any]:
        first = [{"role": "system", "content": self.system}] if self.system else []
        body: dict[str, Any] = {
            "messages": [*first, *messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if self.model is not None:
            body["model"] = self.model
        if self.max_tokens is not None:
            body["max_tokens"] = self.max_tokens
        return body

    def _pieces(self, lines: Iterator[str]) -> Iterator[Piece]:
        reason = ""
        for line in lines:
            if not line.startswith(DATA) or (text := line[len(DATA) :].strip()) == END:
                continue
            frame = json.loads(text)
            if "error" in frame:
                raise LocalserveError(str(frame["error"]["message"]))
            for choice in frame["choices"]:
                reason = choice.get("finish_reason") or reason
                delta = choice["delta"]
                if thought := delta.get("reasoning_content"):
                    yield Piece(thought, reasoning=True)
                if said := delta.get("content"):
                    yield Piece(said)
            if frame.get("usage"):
                self.last = _counts(frame, reason)


def _counts(frame: dict[str, Any], reason: str) -> Counts:
    usage, timings = frame["usage"], frame["timings"]
    return Counts(
        model=frame["model"],
        prompt_tokens=usage["prompt_tokens"],
        cached_tokens=usage["prompt_tokens_details"]["cached_tokens"],
        answer_tokens=usage["completion_tokens"],
        prompt_ms=timings["prompt_ms"],
        tokens_per_second=timings["predicted_per_second"],
        finish_reason=reason,
    )


def _refuse(content: bytes) -> NoReturn:
    try:
        words = json.loads(content)["detail"]
    except (ValueError, KeyError, TypeError):
        words = content.decode(errors="replace")[:500]
    raise LocalserveError(str(words))
