"""From the engine's sequences to the chat events of one request. Lives on the event loop.

One request is one or more sequences (choices of prompts), which share a mailbox.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from typing import Any, assert_never

from localserve.backends.choice import Choice
from localserve.chat import (
    Accepted,
    AnswerProgress,
    ChatEvent,
    Completed,
    Finished,
    Generation,
    PromptProgress,
    TextDelta,
    Timings,
    TokenLogprob,
    Usage,
)
from localserve.engine.engine import Engine, Mailbox
from localserve.engine.runner import TokenScore
from localserve.engine.sequence import (
    Admitted,
    Broken,
    Ended,
    GenerateRequest,
    Progressed,
    ScoredToken,
    SequenceEvent,
    Text,
)
from localserve.prompting.output.parser import AnswerParser


class Answer:
    """Runs the sequences of one request. `echoes` are texts that choices begin with.

    With a `parser` for each choice their text is taken apart, else it is given out as it is.
    """

    def __init__(
        self,
        *,
        engine: Engine[Any],
        model: str,
        requests: list[GenerateRequest],
        context_tokens: int,
        generation: Generation,
        prompts: tuple[str, ...] = (),
        choices_per_prompt: int,
        spelling: Callable[[int], bytes],
        parser: Callable[[], AnswerParser] | None = None,
        parallel_calls: bool = True,
    ) -> None:
        self._engine = engine
        self._model = model
        self._requests = requests
        self._context_tokens = context_tokens
        self._generation = generation
        self._prompts = prompts
        self._lengths = [_length(request) for request in requests]
        self._choices_per_prompt = choices_per_prompt
        self._spelling = spelling
        self._accepted = False
        self._ended: dict[int, Ended] = {}
        self._choices = [
            Choice(number, parser(), parallel=parallel_calls)
            for number in range(len(requests))
            if parser
        ]
        self._counts: dict[int, tuple[int, float]] = {}
        self.echoes: list[str] = []
        self.left_out_tokens = 0

    @property
    def sequences(self) -> int:
        """How many sequences the request computes."""
        return len(self._requests)

    async def events(self) -> AsyncGenerator[ChatEvent, None]:
        """All events of the request. Closing the generator cancels what still runs."""
        mailbox = Mailbox()
        choices: dict[int, int] = {}
        try:
            numbers = self._engine.submit_all(self._requests, mailbox)
            choices.update({number: choice for choice, number in enumerate(numbers)})
            while len(self._ended) < len(self._requests):
                for number, event in await mailbox.take():
                    for chat_event in self._translate(choices[number], event):
                        yield chat_event
            yield Completed(self._usage(), self._timings())
        finally:
            for number, choice in choices.items():
                if choice not in self._ended:
                    self._engine.cancel(number)

    def _translate(self, choice: int, event: SequenceEvent) -> list[ChatEvent]:
        match event:
            case Admitted():
                return self._accept()
            case Progressed():
                return [_progress(choice, event)]
            case Text(text, scored, special_at, tokens):
                logprobs = tuple(map(self._logprob, scored))
                told = self._answered(choice, len(tokens))
                if not self._generation.report.tokens:
                    tokens = ()
                if self._choices:
                    return [*told, *self._choices[choice].take(text, special_at, logprobs)]
                return [*told, TextDelta(choice, text, logprobs, tokens)]
            case Ended():
                self._ended[choice] = event
                usage, timings = self._usage_of(choice), _timings_of(event)
                if self._choices:
                    return list(self._choices[choice].end(event, usage, timings))
                return [Finished(choice, event.reason, event.stopped_by, usage, timings)]
            case Broken(error):
                raise error
            case _ as never:
                assert_never(never)

    def _accept(self) -> list[ChatEvent]:
        if self._accepted:
            return []
        self._accepted = True
        echoes = [
            TextDelta(prompt * self._choices_per_prompt + choice, text)
            for prompt, text in enumerate(self.echoes)
            for choice in range(self._choices_per_prompt)
        ]
        accepted = Accepted(
            self._model,
            self._prompt_tokens,
            context_tokens=self._context_tokens,
            generation=self._generation,
            left_out_tokens=self.left_out_tokens,
            prompts=self._prompts,
        )
        return [accepted, *echoes]

    def _answered(self, choice: int, tokens: int) -> list[ChatEvent]:
        """How far the choice is with so many more tokens, if that is to be told."""
        if not self._generation.report.timings:
            return []
        now = time.monotonic()
        count, first = self._counts.get(choice, (0, now))
        self._counts[choice] = count + tokens, first
        return [AnswerProgress(choice, count + tokens, (now - first) * 1e3)]

    def _logprob(self, scored: ScoredToken) -> TokenLogprob:
        return self._named(scored.score, tuple(self._named(other) for other in scored.top))

    def _named(self, score: TokenScore, top: tuple[TokenLogprob, ...] = ()) -> TokenLogprob:
        raw = self._spelling(score.token)
        return TokenLogprob(score.token, raw.decode("utf-8", "replace"), raw, score.logprob, top)

    @property
    def _prompt_tokens(self) -> int:
        """Of all prompts; each counts once, however many choices there are of it."""
        return sum(self._lengths[:: self._choices_per_prompt])

    def _usage_of(self, choice: int) -> Usage:
        ended = self._ended[choice]
        return Usage(self._lengths[choice], ended.completion_tokens, ended.cached_tokens)

    def _usage(self) -> Usage:
        """Each prompt counts once, however many choices there are of it."""
        first_choices = range(0, len(self._requests), self._choices_per_prompt)
        return Usage(
            prompt_tokens=self._prompt_tokens,
            completion_tokens=sum(ended.completion_tokens for ended in self._ended.values()),
            cached_tokens=sum(self._ended[choice].cached_tokens for choice in first_choices),
        )

    def _timings(self) -> Timings:
        """Of the slowest choice each."""
        ended = self._ended.values()
        return Timings(
            queue_ms=max(one.queue_seconds for one in ended) * 1e3,
            prompt_ms=max(one.prompt_seconds for one in ended) * 1e3,
            answer_ms=max(one.answer_seconds for one in ended) * 1e3,
            timed_tokens=sum(_timings_of(one).timed_tokens for one in ended),
            guessed_tokens=sum(one.guessed_tokens for one in ended),
            right_tokens=sum(one.right_tokens for one in ended),
        )


def _timings_of(ended: Ended) -> Timings:
    """Of one choice."""
    return Timings(
        queue_ms=ended.queue_seconds * 1e3,
        prompt_ms=ended.prompt_seconds * 1e3,
        answer_ms=ended.answer_seconds * 1e3,
        timed_tokens=max(0, ended.completion_tokens - 1),
        guessed_tokens=ended.guessed_tokens,
        right_tokens=ended.right_tokens,
    )


def _progress(choice: int, progressed: Progressed) -> PromptProgress:
    return PromptProgress(
        choice,
        progressed.prompt_tokens,
        progressed.cached_tokens,
        progressed.computed_tokens,
        progressed.seconds * 1e3,
    )


def _length(request: GenerateRequest) -> int:
    return sum(len(chunk.tokens) for chunk in request.prompt)
