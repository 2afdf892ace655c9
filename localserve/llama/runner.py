"""One llama_context behind the engine's `Runner` protocol.

Created, used and closed on the engine thread; no lock surrounds llama.cpp because none is needed.
`n_ctx` and `seq_id` end here.
"""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import llama_cpp
import numpy as np

from localserve.chat import Sampling
from localserve.engine.constraint import Constraint, ConstraintFailed
from localserve.engine.runner import (
    Bytes,
    DecodeFailed,
    Interrupted,
    NoCells,
    Sampled,
    Slice,
    State,
    Steer,
    Unsampled,
)
from localserve.llama import library
from localserve.llama.batch import BatchArrays, pointer, warm_up
from localserve.llama.context import computes_on_gpu, device_in_words, make_context
from localserve.llama.draft import LlamaDraft
from localserve.llama.memory import MemoryUntold, usage_of
from localserve.llama.model import LlamaModel
from localserve.llama.row_pool import RowPool
from localserve.llama.sampler import LlamaSampler
from localserve.llama.sampling.row import NoChoice, Row
from localserve.llama.sampling.sure import Words
from localserve.llama.sampling.weights import Workspace
from localserve.llama.vocabulary import LlamaVocabulary
from localserve.planner.runtime import Runtime
from localserve.planner.usage import MemoryUsage

log = logging.getLogger(__name__)
WHOLE = 0
"""All that there is of a sequence. Source: LLAMA_STATE_SEQ_FLAGS_NONE in llama.h."""

PARTIAL = 1
"""Only what cannot be cut: windows and recurrent states, no cells of ordinary attention.
Source: LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY in llama.h."""


MINGLED = frozenset({"deepseek4"})
"""Architectures whose state of one sequence has rows of all: no part of it may leave the process.
Source: dsv4_state_write_k_cache in llama-kv-cache-dsv4.cpp."""

Results = list[Sampled | Unsampled]
"""Of one slice: the tokens that follow, as far as they could be chosen."""


@dataclass(frozen=True, slots=True, eq=False)
class SequenceState:
    """A checkpoint, as llama.cpp wrote it."""

    data: Bytes

    @property
    def size_bytes(self) -> int:
        return len(self.data)


class LlamaRunner:
    """Implements `engine.runner.Runner`. Closing it lets go of the model too.

    With a `draft_model` it has a drafter, which is closed with it. With `copies`, parts of
    sequences can be copied out and in; where sequences can be cut, that takes one sequence id,
    which is no slot then.
    """

    def __init__(
        self,
        model: LlamaModel,
        runtime: Runtime,
        *,
        threads: int,
        checkpoint_bytes: int = 0,
        copies: bool = False,
        draft_model: LlamaModel | None = None,
    ) -> None:
        """Both models are closed where there is no room for a context."""
        self._model = model
        self._checkpoint_bytes = checkpoint_bytes
        self._runtime = runtime
        self.copies = copies and model.architecture not in MINGLED
        self._aside = runtime.sequences - 1 if self.copies and not self.saves else None
        self._interrupt = ctypes.create_string_buffer(2)
        self.drafter: LlamaDraft | None = None
        try:
            self._context = make_context(model, runtime, threads, self._interrupt)
        except BaseException:
            if draft_model is not None:
                draft_model.close()
            raise
        self._closed = False
        self._memory = llama_cpp.llama_get_memory(self._context)
        self._batch = BatchArrays(runtime.batch_tokens)
        self._row_type = ctypes.c_float * model.vocabulary.size
        self.workspace = Workspace(model.vocabulary.size)
        self._row_pool = RowPool(threads)
        self.device = device_in_words()
        self.crowding_slows = not self.saves and not computes_on_gpu(runtime)
        if draft_model is not None:
            self.drafter = self._make_drafter(draft_model, threads)
        self.memory_at_start = self._memory_or_none()

    def _make_drafter(self, model: LlamaModel, threads: int) -> LlamaDraft:
        try:
            return LlamaDraft(model, self._model, self._runtime, threads, self._interrupt)
        except BaseException:
            self.close()
            raise

    @property
    def cells(self) -> int:
        return self._runtime.context_tokens

    @property
    def slots(self) -> int:
        return self._runtime.sequences - (self._aside is not None)

    @property
    def batch_tokens(self) -> int:
        return self._runtime.batch_tokens

    @property
    def runtime(self) -> Runtime:
        return self._runtime

    def _memory_or_none(self) -> MemoryUsage | None:
        try:
            return self.memory()
        except MemoryUntold:
            return None

    def memory(self) -> MemoryUsage:
        """What the context and the weights hold on each device, and the drafter's beside them.

        Raises: MemoryUntold.
        """
        usage = usage_of(self._context, self._model.handle, self._runtime)
        return usage if self.drafter is None else replace(usage, beside=(self.drafter.memory(),))

    @property
    def vocabulary(self) -> LlamaVocabulary:
        return self._model.vocabulary

    @property
    def model(self) -> LlamaModel:
        return self._model

    def make_sampler(
        self,
        sampling: Sampling,
        *,
        history: Sequence[int],
        top_logprobs: int | None,
        ignore_end: bool,
        steer: Steer | None = None,
        constraint: Constraint | None = None,
    ) -> LlamaSampler:
        return LlamaSampler(
            sampling,
            history=history,
            top_logprobs=top_logprobs,
            banned=self.vocabulary.ends if ignore_end else (),
            steer=steer,
            constraint=constraint,
            words=self._words(ignore_end) if sampling.sure_only else None,
            workspace=self.workspace,
        )

    def _words(self, ignore_end: bool) -> Words:
        vocabulary = self.vocabulary
        end = None if ignore_end else vocabulary.turn_end
        return Words(vocabulary.piece, vocabulary.is_end, end)

    @property
    def guess_tokens(self) -> int:
        if self._model.recurrent or self._model.window_tokens:
            return 0
        return self._runtime.guess_tokens

    def run(self, batch: Sequence[Slice]) -> list[Results]:
        outputs = self._batch.fill(batch)
        self._interrupt[0] = b"\0"  # an interrupt that came late was meant for an earlier step
        code = llama_cpp.llama_decode(self._context, self._batch.struct)
        if code != 0:
            self._undo(batch, code)
        # A GPU goes on after llama_decode has returned: a step without outputs would seem to take
        # no time, and the next one that of both.
        llama_cpp.llama_synchronize(self._context)
        results = self._sample_all(batch, outputs)
        for part, sampled in zip(batch, results, strict=True):
            self._settle(part, right=max(0, len(sampled) - 1))
        return results

    def _sample_all(self, batch: Sequence[Slice], outputs: Sequence[int]) -> list[Results]:
        """For each slice the tokens that follow, none for those without a sampler."""
        asked = [
            (part, [self._row(output + ahead) for ahead in range(1 + len(part.guess))])
            for part, output in zip(batch, outputs, strict=True)
            if part.sampler is not None
        ]
        found = iter(self._row_pool.map(_sample_slice, asked))
        return [[] if part.sampler is None else next(found) for part in batch]

    def _settle(self, part: Slice, right: int) -> None:
        """Forget those of the guessed tokens that were not right."""
        end = part.start + len(part.tokens)
        if right < len(part.guess):
            llama_cpp.llama_memory_seq_rm(self._memory, part.slot, end + right, -1)
        self._follow(part.slot, end + right)

    def _follow(self, slot: int, length: int) -> None:
        """The drafter forgets what the slot does not hold any more."""
        if self.drafter is not None:
            self.drafter.truncate(slot, length)

    def _row(self, output: int) -> Row:
        """The logits behind a token of the batch, where llama.cpp has them: nothing is copied."""
        logits = llama_cpp.llama_get_logits_ith(self._context, output)
        if not logits:
            raise DecodeFailed(f"no logits for position {output} of the batch")
        memory = self._row_type.from_address(ctypes.addressof(logits.contents))
        return np.frombuffer(memoryview(memory), np.float32)

    def _undo(self, batch: Sequence[Slice], code: int) -> None:
        """Leave the memory as it was before a batch that failed. Source: llama.h, llama_decode."""
        reasons = library.newest_errors()
        whole = all(self.truncate(part.slot, part.start) == part.start for part in batch)
        if whole and code == 1:
            raise NoCells
        if whole and code == 2:
            raise Interrupted
        raise DecodeFailed("; ".join([f"llama_decode returned {code}", *reasons]))

    @property
    def saves(self) -> bool:
        return self._model.recurrent or self._model.window_tokens > 0

    @property
    def checkpoint_bytes(self) -> int:
        return self._checkpoint_bytes

    def can_cut(self, slot: int, length: int) -> bool:
        if self._model.recurrent:
            return length == llama_cpp.llama_memory_seq_pos_max(self._memory, slot) + 1
        return self._begins_whole(slot, length)

    def truncate(self, slot: int, length: int, state: State | None = None) -> int:
        goes_on = length > 0 and self._goes_on(slot, length, state) and self._restore(slot, state)
        if not (goes_on and llama_cpp.llama_memory_seq_rm(self._memory, slot, length, -1)):
            llama_cpp.llama_memory_seq_rm(self._memory, slot, -1, -1)
            length = 0
        self._follow(slot, length)
        return length

    def share(self, source: int, target: int, length: int, state: State | None = None) -> int:
        if not self._goes_on(source, length, state):
            return 0
        llama_cpp.llama_memory_seq_cp(self._memory, source, target, 0, length)
        if self._restore(target, state):
            if self.drafter is not None:
                self.drafter.share(source, target, length)
            return length
        llama_cpp.llama_memory_seq_rm(self._memory, target, -1, -1)
        return 0

    def save(self, slot: int) -> SequenceState | None:
        """Source: llama.h, llama_state_seq_get_data_ext; of a recurrent model it is all of the
        sequence's state, of one with sliding windows what their layers hold."""
        data = self._read_state(slot, PARTIAL)
        return SequenceState(data) if data is not None else None

    def checkpoint(self, data: Bytes) -> SequenceState:
        return SequenceState(data.copy())  # not a view of all that was read with it

    def copy_bytes(self, slot: int, start: int, end: int) -> int:
        with self._part(slot, start, end) as part:
            return 0 if part is None else self._state_bytes(part, WHOLE)

    def copy_out(self, slot: int, start: int, end: int) -> Bytes | None:
        with self._part(slot, start, end) as part:
            return None if part is None else self._read_state(part, WHOLE)

    def copy_in(self, slot: int, start: int, end: int, data: Bytes, covers: range) -> bool:
        """Source: llama.h, llama_state_seq_set_data_ext: the sequence is emptied before."""
        target = slot if self.saves else self._aside
        if target is None:
            return False
        placed = self._write_state(target, data, WHOLE) and self._holds(target, covers)
        if target != slot and placed:
            llama_cpp.llama_memory_seq_cp(self._memory, target, slot, start, end)
        if target != slot or not placed:
            llama_cpp.llama_memory_seq_rm(self._memory, target, -1, -1)
        return placed

    @contextmanager
    def _part(self, slot: int, start: int, end: int) -> Iterator[int | None]:
        """A sequence that holds just these tokens of the slot, in the same cells; for a moment."""
        if self.saves:
            yield slot if self.copies else None
            return
        if self._aside is None:
            yield None
            return
        llama_cpp.llama_memory_seq_cp(self._memory, slot, self._aside, start, end)
        try:
            yield self._aside
        finally:
            llama_cpp.llama_memory_seq_rm(self._memory, self._aside, -1, -1)

    def _holds(self, slot: int, covers: range) -> bool:
        """Whether the slot holds these tokens; of one that cannot be cut only the end is told."""
        newest = llama_cpp.llama_memory_seq_pos_max(self._memory, slot)
        oldest = llama_cpp.llama_memory_seq_pos_min(self._memory, slot)
        return newest + 1 == covers.stop and (self.saves or oldest == covers.start)

    def _state_bytes(self, slot: int, flags: int) -> int:
        return llama_cpp.llama_state_seq_get_size_ext(self._context, slot, flags)

    def _read_state(self, slot: int, flags: int) -> Bytes | None:
        data = np.empty(self._state_bytes(slot, flags), np.uint8)
        written = llama_cpp.llama_state_seq_get_data_ext(
            self._context, pointer(data, ctypes.c_uint8), len(data), slot, flags
        )
        return data if written == len(data) > 0 else None

    def _write_state(self, slot: int, data: Bytes, flags: int) -> bool:
        data = np.ascontiguousarray(data)
        read = llama_cpp.llama_state_seq_set_data_ext(
            self._context, pointer(data, ctypes.c_uint8), len(data), slot, flags
        )
        return read == len(data)

    def _goes_on(self, slot: int, length: int, state: State | None) -> bool:
        return state is not None or self.can_cut(slot, length)

    def _restore(self, slot: int, state: State | None) -> bool:
        """Put a checkpoint back; True as well where there is none to put back."""
        if state is None:
            return True
        assert isinstance(state, SequenceState)
        return self._write_state(slot, state.data, PARTIAL)

    def _begins_whole(self, slot: int, length: int) -> bool:
        """Whether the slot holds all that attention behind the first `length` tokens looks at.

        A sliding-window model forgets what lies before its window.
        """
        window = self._model.window_tokens
        if not window:
            return True
        oldest = llama_cpp.llama_memory_seq_pos_min(self._memory, slot)
        return 0 <= oldest <= max(0, length - window)

    def interrupt(self) -> None:
        if not self._model.recurrent:  # its state could not be wound back
            self._interrupt[0] = b"x"

    def warm_up(self) -> None:
        """Touch all weights once, so that the first request does not wait for the disk."""
        library.hush()  # from here on, what fails is raised
        _ = self.vocabulary.ends
        token = self.vocabulary.begin or self.vocabulary.end or 0
        warm_up(self._context, self._batch, token)
        if self.drafter is not None:
            self.drafter.warm_up(token)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self.drafter is not None:
                self.drafter.close()
            self._row_pool.close()
            llama_cpp.llama_free(self._context)
            self._model.close()


def _sample_slice(asked: tuple[Slice, list[Row]]) -> Results:
    """The next token and one more for each guessed one that is right, from the rows behind them."""
    part, rows = asked
    sampler = part.sampler
    assert isinstance(sampler, LlamaSampler)
    results = [_sample(sampler, rows[0])]
    for guessed, row in zip(part.guess, rows[1:], strict=True):
        last = results[-1]
        if isinstance(last, Unsampled) or last.complete or last.token != guessed:
            break
        results.append(_sample(sampler, row))
    return results


def _sample(sampler: LlamaSampler, row: Row) -> Sampled | Unsampled:
    try:
        return sampler.sample(row)
    except NoChoice as failure:
        return Unsampled(str(failure))
    except ConstraintFailed as failure:
        return Unsampled(str(failure), constrained=True)
    except Exception as failure:  # whatever it is, the other rows are not concerned
        log.exception("sampling failed")
        return Unsampled(f"sampling failed: {failure}")
