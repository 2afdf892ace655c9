"""A runner without a model: answers follow a script, memory is checked strictly.

Ships in the package so that tests of the engine, and of whatever is built on it, need no model and
no shared library. Its vocabulary is bytes: token ids 0 to 255 are bytes, 256 ends an answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from localserve.chat import Sampling
from localserve.engine.runner import DecodeFailed, Interrupted, Sampled, Slice, Steer, TokenScore

END = 256


class ByteVocabulary:
    """Every byte is a token."""

    size = END + 1

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]:
        return list(text.encode())

    def piece(self, token: int) -> bytes:
        return b"" if token == END else bytes([token])

    def is_end(self, token: int) -> bool:
        return token == END


Script = Callable[[bytes], int]
"""From all bytes of a sequence so far to the next token."""


def echo(text: bytes) -> int:
    """The shipped script: repeats what stands behind the last newline of the prompt, then ends.

    A prompt `...\\nabc\\n` is answered `abc`.
    """
    prompt, separator, answer = text.rpartition(b"\n")
    wanted = prompt.rpartition(b"\n")[2]
    if not separator or len(answer) >= len(wanted):
        return END
    return wanted[len(answer)]


@dataclass(slots=True)
class ScriptedSampler:
    """Only remembers what was asked for."""

    top_logprobs: int | None
    ignore_end: bool
    steer: Steer | None = None
    closed: bool = False

    def close(self) -> None:
        self.closed = True


@dataclass
class ScriptedRunner:
    """Follows `script`; `on_run` is called with every batch before it is computed.

    `can_cut` False behaves like a recurrent model: memory cannot be cut but as a whole.
    """

    cells: int = 1024
    slots: int = 8
    batch_tokens: int = 256
    script: Script = echo
    on_run: Callable[[Sequence[Slice]], None] = lambda batch: None
    can_cut: bool = True
    vocabulary: ByteVocabulary = field(default_factory=ByteVocabulary)
    memory: dict[int, list[int]] = field(default_factory=dict)
    samplers: list[ScriptedSampler] = field(default_factory=list)
    computed_tokens: int = 0
    steps: int = 0
    closed: bool = False
    interrupted: threading.Event = field(default_factory=threading.Event)

    def truncate(self, slot: int, length: int) -> int:
        held = self.memory.get(slot, [])
        assert length <= len(held), f"slot {slot} holds {len(held)} tokens, not {length}"
        if not self.can_cut and length != len(held):
            length = 0
        self.memory[slot] = held[:length]
        return length

    def share(self, source: int, target: int, length: int) -> int:
        assert not self.memory.get(target), f"slot {target} is not empty"
        if not self.can_cut:
            return 0
        assert length <= len(self.memory.get(source, []))
        self.memory[target] = self.memory[source][:length]
        return length

    def make_sampler(
        self,
        sampling: Sampling,
        *,
        history: Sequence[int],
        top_logprobs: int | None,
        ignore_end: bool,
        steer: Steer | None = None,
    ) -> ScriptedSampler:
        self.samplers.append(ScriptedSampler(top_logprobs, ignore_end, steer))
        return self.samplers[-1]

    def run(self, batch: Sequence[Slice]) -> list[Sampled | None]:
        assert batch, "an empty batch was run"
        assert sum(len(part.tokens) for part in batch) <= self.batch_tokens
        assert len({part.slot for part in batch}) == len(batch)
        self.interrupted.clear()
        self.on_run(batch)
        if self.interrupted.is_set():
            raise Interrupted
        for part in batch:
            held = self.memory.setdefault(part.slot, [])
            assert part.start == len(held), f"slot {part.slot}: {part.start} != {len(held)}"
            held.extend(part.tokens)
            self.computed_tokens += len(part.tokens)
        held_cells = sum(len(held) for held in self.memory.values())
        if held_cells > self.cells:
            raise DecodeFailed(f"{held_cells} cells used of {self.cells}")
        self.steps += 1
        return [self._sample(part) if part.sampler is not None else None for part in batch]

    def _sample(self, part: Slice) -> Sampled:
        assert isinstance(part.sampler, ScriptedSampler)
        assert not part.sampler.closed
        token = self.script(bytes(self.memory[part.slot]))
        if token == END and part.sampler.ignore_end:
            token = ord("x")
        if part.sampler.steer is not None:
            token = part.sampler.steer(token)
        if part.sampler.top_logprobs is None:
            return Sampled(token)
        score = TokenScore(token, -0.5)
        return Sampled(token, score, (score,) * part.sampler.top_logprobs)

    def interrupt(self) -> None:
        self.interrupted.set()

    def close(self) -> None:
        self.closed = True
