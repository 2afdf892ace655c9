"""One answer in the making: its tokens, how far they are computed, where, and its text.

There is no prompt phase and no answer phase: a sequence has tokens, of which the first `computed`
lie in its slot; each step lets `computed` catch up, and a token sampled at the end adds one more.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from localserve.chat import FinishReason, Priority, Report, Sampling
from localserve.engine.budget import ReasoningBudget
from localserve.engine.constraint import MakeConstraint
from localserve.engine.guessing import Guesser, Lookup
from localserve.engine.prefixes import TokenArray
from localserve.engine.runner import Prompt, Sampled, Sampler, TokenScore
from localserve.engine.text import Piece, TextAssembler
from localserve.errors import LocalserveError

RESERVED_TOKENS = 512
"""Room for an answer that admission asks for beyond the prompt, if the answer may be that long."""


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """One prompt to be continued once.

    `max_tokens` None means 'the rest of the cells'; more than there is room for ends the answer
    with reason `length`. `sampling` has no None but `seed`. A stop string is not given out.
    `spelled` are special tokens that are a part of the answer's text, with their bytes.
    `constraint` makes what the answer is kept within.
    `from_text` says that the prompt was tokenized from text, so that other ids which stand for the
    same text may take their place. `checkpoints` are numbers of prompt tokens after which a later
    prompt is likely to part from this one. `line_seconds`, `min_indent`, `reuse` and `report` are
    those of a Generation. `request_id` is for the log.
    """

    prompt: Prompt
    sampling: Sampling
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    ignore_end: bool = False
    spelled: Mapping[int, bytes] = field(default_factory=dict)
    budget: ReasoningBudget | None = None
    constraint: MakeConstraint | None = None
    scope: str = ""
    priority: Priority = Priority.CHAT
    from_text: bool = False
    checkpoints: tuple[int, ...] = ()
    line_seconds: float | None = None
    min_indent: int = 0
    reuse: bool = True
    report: Report = field(default_factory=Report)
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class ScoredToken:
    """A token of the answer and the best tokens that could have stood there, best first."""

    score: TokenScore
    top: tuple[TokenScore, ...]


@dataclass(frozen=True, slots=True)
class Admitted:
    """The sequence has a slot and room; nothing is computed yet."""

    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Progressed:
    """So much of the prompt is computed, of which `cached_tokens` were there before."""

    prompt_tokens: int
    cached_tokens: int
    computed_tokens: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Text:
    """More of the answer. `special_at` are the offsets at which spelled special tokens begin,
    `tokens` the ids of the tokens whose text ends here, if they were asked for."""

    text: str
    scored: tuple[ScoredToken, ...] = ()
    special_at: tuple[int, ...] = ()
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Ended:
    """The answer is complete. Times in seconds: waiting, prompt, answer.

    Of its tokens, `right_tokens` had been guessed, of all the `guessed_tokens` that were tried.
    """

    reason: FinishReason
    stopped_by: str | None
    completion_tokens: int
    cached_tokens: int
    queue_seconds: float
    prompt_seconds: float
    answer_seconds: float
    guessed_tokens: int = 0
    right_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Broken:
    """There will be no more of this answer."""

    error: LocalserveError


SequenceEvent = Admitted | Progressed | Text | Ended | Broken
"""In order: Admitted, Progressed*, Text*, Ended; Broken instead of any of them, and then nothing
more."""


Given = tuple[int, ScoredToken | None]
"""A token of the answer, with its score where scores were asked for."""


@dataclass(frozen=True, slots=True)
class SequenceView:
    """A running sequence as others may see it: no text, no tokens. `computed_tokens` are those of
    the prompt."""

    number: int
    prompt_tokens: int
    cached_tokens: int
    computed_tokens: int
    answer_tokens: int
    answer_tokens_left: int
    has_new_line: bool
    sampling: Sampling
    max_tokens: int | None


@dataclass(slots=True)
class Times:
    """Readings of the monotonic clock; 0.0 until it happened."""

    submitted: float = field(default_factory=time.monotonic)
    admitted: float = 0.0
    first_token: float = 0.0
    last_token: float = 0.0


class Sequence:
    """Belongs to the scheduler; lives on the engine thread."""

    def __init__(self, number: int, request: GenerateRequest, cells: int) -> None:
        self.number = number
        self.request = request
        self.tokens: list[int] = [token for chunk in request.prompt for token in chunk.tokens]
        self.prompt_length = len(self.tokens)
        self.asked_tokens = self.prompt_length
        self.reworded = (0, 0)
        self.checkpoints = request.checkpoints
        self.prompt: TokenArray = np.array(self.tokens, dtype=np.int32)
        self.computed = 0
        self.slot: int | None = None
        self.sampler: Sampler | None = None
        self.text: TextAssembler[Given] = TextAssembler(request.stop, request.min_indent)
        self._cells = cells
        self.limit = self._room(self.prompt_length)
        if request.max_tokens is not None:
            self.limit = min(request.max_tokens, self.limit)
        self.cached_tokens = 0
        self.told_tokens = -1
        self.has_new_line = False
        self.pauses = 0
        self.claim = 0
        self.leader: tuple[Sequence, int] | None = None
        self.lookup: Lookup | None = None
        self.draft: Guesser | None = None
        self.guesser: Guesser | None = None
        self.guessed_tokens = 0
        self.right_tokens = 0
        self.times = Times()

    @property
    def pending(self) -> int:
        """Tokens that are not computed yet."""
        return len(self.tokens) - self.computed

    def asked_of(self, computed: int) -> int:
        """How many of the tokens that were asked the first `computed` ones stand for."""
        held, replaced = self.reworded
        return computed - held + replaced if computed >= held else min(computed, replaced)

    @property
    def reuses(self) -> bool:
        """Whether it may begin with what is computed already; after a pause with its own."""
        return self.request.reuse or self.pauses > 0

    @property
    def answer_length(self) -> int:
        return len(self.tokens) - self.prompt_length

    def _room(self, prompt_length: int) -> int:
        """Tokens of an answer; the last one is given out without being computed."""
        return self._cells - prompt_length + 1

    def reword(self, held: TokenArray, replaced: int) -> bool:
        """Let `held` take the place of the prompt's first `replaced` tokens, which stand for the
        same text; False where that would leave too little room for the answer."""
        grown = len(held) - replaced
        room = self._room(self.prompt_length + grown)
        wanted = 1 if self.request.max_tokens is None else self.limit
        if room < wanted:
            return False
        self.limit = min(self.limit, room)
        self.tokens[:replaced] = held.tolist()
        self.reworded = len(held), replaced
        self.prompt_length += grown
        self.prompt = np.array(self.tokens, dtype=np.int32)
        self.checkpoints = tuple(at + grown for at in self.checkpoints if at >= replaced)
        return True

    @property
    def footprint(self) -> int:
        """Cells that are to be left to it: what it claimed when admitted, or has grown to."""
        return max(self.claim, len(self.tokens))

    def wanted_cells(self, cells: int) -> int:
        """Room that admission asks for: all tokens so far and a good part of the answer."""
        left = self.limit - self.answer_length
        return min(len(self.tokens) + min(left, RESERVED_TOKENS), cells)

    def take(self, sampled: Sampled, raw: bytes, ends: bool) -> list[SequenceEvent]:
        """Take over a sampled token; returns what it gives out, ending with Ended if it ends."""
        now = time.monotonic()
        self.times.last_token = now
        self.times.first_token = self.times.first_token or now
        self.tokens.append(sampled.token)
        if self.lookup is not None:
            self.lookup.append(sampled.token)
        if ends and not self.request.ignore_end:
            return self._end("stop", None, by=sampled.token)
        scored = ScoredToken(sampled.score, sampled.top) if sampled.score is not None else None
        told = scored is not None or self.request.report.tokens
        entry = (sampled.token, scored) if told else None
        spelling = self.request.spelled.get(sampled.token)
        special = spelling is not None
        piece = self.text.feed(raw if spelling is None else spelling, entry, special=special)
        events: list[SequenceEvent] = []
        new_line = "\n" in piece.text
        self.has_new_line = self.has_new_line or new_line
        if piece.text or piece.entries:
            events.append(self._given(piece))
        if piece.stopped_by is not None:
            return [*events, self._ended("stop", piece.stopped_by)]
        if piece.cut or (new_line and self._line_is_late(now)):
            return [*events, self._ended("length", None)]
        if sampled.complete:
            return [*events, *self._end("stop", None)]
        if self.answer_length >= self.limit:
            return [*events, *self._end("length", None)]
        return events

    def progress(self) -> list[SequenceEvent]:
        """How far the prompt is, if that was asked for and there is news."""
        if not self.request.report.progress:
            return []
        computed = self.asked_of(min(self.computed, self.prompt_length))
        if computed <= self.told_tokens:
            return []
        self.told_tokens = computed
        seconds = time.monotonic() - self.times.admitted
        return [Progressed(self.asked_tokens, self.cached_tokens, computed, seconds)]

    def end_without_answer(self) -> list[SequenceEvent]:
        """The prompt is computed and no answer was asked for."""
        return self._end("length", None)

    def close(self) -> None:
        """Free the sampler."""
        if self.sampler is not None:
            self.sampler.close()
            self.sampler = None

    def view(self) -> SequenceView:
        """What it is at now."""
        return SequenceView(
            number=self.number,
            prompt_tokens=self.asked_tokens,
            cached_tokens=self.cached_tokens,
            computed_tokens=self.asked_of(min(self.computed, self.prompt_length)),
            answer_tokens=self.answer_length,
            answer_tokens_left=max(0, self.limit - self.answer_length),
            has_new_line=self.has_new_line,
            sampling=self.request.sampling,
            max_tokens=self.request.max_tokens,
        )

    def _line_is_late(self, now: float) -> bool:
        seconds = self.request.line_seconds
        return seconds is not None and now - self.times.first_token > seconds

    def _given(self, piece: Piece[Given]) -> Text:
        scored = tuple(score for _, score in piece.entries if score is not None)
        tokens = tuple(token for token, _ in piece.entries) if self.request.report.tokens else ()
        return Text(piece.text, scored, piece.special_at, tokens)

    def _end(
        self, reason: FinishReason, stopped_by: str | None, *, by: int | None = None
    ) -> list[SequenceEvent]:
        """Give out what was held back, and the end, which the token `by` brought."""
        piece = self.text.finish()
        if piece.stopped_by is not None:
            reason, stopped_by = "stop", piece.stopped_by
        events: list[SequenceEvent] = []
        if piece.text or piece.entries:
            events.append(self._given(piece))
        if by is not None and self.request.report.tokens:
            events.append(Text("", tokens=(by,)))
        return [*events, self._ended(reason, stopped_by)]

    def _ended(self, reason: FinishReason, stopped_by: str | None) -> Ended:
        times = self.times
        return Ended(
            reason=reason,
            stopped_by=stopped_by,
            completion_tokens=self.answer_length,
            cached_tokens=self.cached_tokens,
            queue_seconds=times.admitted - times.submitted,
            prompt_seconds=(times.first_token or time.monotonic()) - times.admitted,
            answer_seconds=times.last_token - times.first_token,
            guessed_tokens=self.guessed_tokens,
            right_tokens=self.right_tokens,
        )
