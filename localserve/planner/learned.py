"""What loads and answers on this machine have taught: how far predictions were off, kept on disk.

Of loads by architecture and backend. Answers correct what is predicted of the same model in the
same quantization in full, and of others with that quantization or of that shape by half: they share
the arithmetic or the overheads, not both. What was learned with other hardware, another build of
llama.cpp or other threads does not count. Losing the file loses nothing but that. Never raises:
what cannot be read counts as not there, what cannot be written is not kept. Blocks for the disk;
any thread.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from filelock import FileLock, Timeout

from localserve.config import Settings
from localserve.gguf.facts import GgufFacts
from localserve.planner.speed import Corrections

FILE_NAME: Final = "learned.json"
FORMAT: Final = 1
MOST_BYTES: Final = 4 << 20
MOST_SUBJECTS: Final = 200
MOST_ENTRIES: Final = 32
"""Loads of each subject; the newest are kept."""

MOST_ANSWERS: Final = 400
RECENT: Final = 8
"""Answers of one model in one quantization that are kept: a machine that has become slower is
believed after five of them."""

MOST_SURCHARGE: Final = 0.5
FARTHEST: Final = 8.0
"""A time that is so many times off tells of a disturbed machine, not of the model."""

LOCK_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class LoadLesson:
    """One load: what was predicted and what llama.cpp then held."""

    predicted_bytes: int
    measured_bytes: int


@dataclass(frozen=True, slots=True)
class AnswerLesson:
    """One answer that had the server to itself: measured over predicted times.

    `machine` is the key of what was measured of it (`machine_key`), `backend` what computed. Models
    with the same number of parameters count as one: they differ in what they learned, not in shape.
    """

    machine: str
    backend: str
    architecture: str
    parameters: int
    quantization: str
    decode: float | None
    prompt: float | None

    def same_model(self, other: AnswerLesson) -> bool:
        """Whether both are of one model in one quantization, run by the same."""
        return replace(self, decode=None, prompt=None) == replace(other, decode=None, prompt=None)

    def alike(self, other: AnswerLesson) -> bool:
        """Whether one tells something of the other."""
        if (self.machine, self.backend) != (other.machine, other.backend):
            return False
        same_shape = (self.architecture, self.parameters) == (other.architecture, other.parameters)
        return same_shape or self.quantization == other.quantization


def lesson_of(
    facts: GgufFacts,
    machine: str,
    backend: str,
    decode: float | None = None,
    prompt: float | None = None,
) -> AnswerLesson:
    """The lesson of an answer by that model."""
    return AnswerLesson(
        machine,
        backend,
        facts.architecture,
        facts.parameters,
        facts.quantization,
        decode,
        prompt,
    )


@dataclass(frozen=True, slots=True)
class Lessons:
    """Everything that was learned, as it is on disk now. The subjects of loads are
    'ARCHITECTURE BACKEND'; the newest answers are last."""

    loads: Mapping[str, tuple[LoadLesson, ...]] = field(default_factory=dict)
    answers: tuple[AnswerLesson, ...] = ()

    def surcharge(self, architecture: str, backend: str) -> float:
        """The share by which loads took more than predicted, at worst; 0 if they never did."""
        found = self.loads.get(subject(architecture, backend), ())
        most = max((one.measured_bytes / one.predicted_bytes for one in found), default=1.0)
        return min(max(0.0, most - 1), MOST_SURCHARGE)

    def correct(self, machine: str, facts: GgufFacts, backend: str) -> Corrections:
        """What answers taught of that model."""
        asked = lesson_of(facts, machine, backend)
        same = [one for one in self.answers if one.same_model(asked)]
        alike = [one for one in self.answers if one not in same and one.alike(asked)][-RECENT:]
        return Corrections(
            decode=_correction([one.decode for one in same], [one.decode for one in alike]),
            prompt=_correction([one.prompt for one in same], [one.prompt for one in alike]),
            answers=len(same),
            alike=len(alike),
        )


def _correction(same: Iterable[float | None], alike: Iterable[float | None]) -> float:
    """The correction by answers of the model itself, else half of what others alike say, on a
    logarithmic scale. By their middle: what is promised is what users mostly see, and a few answers
    beside a busy program, or by a machine that was slow when it was measured, spoil nothing."""
    if own := [ratio for ratio in same if ratio is not None]:
        return median(own)
    if others := [ratio for ratio in alike if ratio is not None]:
        return math.sqrt(median(others))
    return 1.0


NOTHING_LEARNED: Final = Lessons()


def subject(architecture: str, backend: str) -> str:
    """The key of what is alike."""
    return f"{architecture} {backend}"


def lessons(settings: Settings) -> Lessons:
    """What is kept on disk."""
    try:
        with _path(settings).open("rb") as stream:
            document = json.loads(stream.read(MOST_BYTES))
        if document["format"] != FORMAT:
            return Lessons()
        loads = {str(key): _loads(value) for key, value in document["loads"].items()}
        answers = _answers(document["answers"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Lessons()
    return Lessons(loads, answers)


def learn_load(settings: Settings, architecture: str, backend: str, lesson: LoadLesson) -> None:
    """Keep what a load taught."""
    if lesson.predicted_bytes <= 0 or lesson.measured_bytes <= 0:
        return

    def add(known: Lessons) -> Lessons:
        loads, key = dict(known.loads), subject(architecture, backend)
        loads[key] = (*loads.pop(key, ()), lesson)[-MOST_ENTRIES:]
        return replace(known, loads=dict(list(loads.items())[-MOST_SUBJECTS:]))

    _change(settings, add)


def learn_answer(settings: Settings, lesson: AnswerLesson) -> None:
    """Keep what an answer taught, unless it is too far off to be true."""
    lesson = replace(lesson, decode=_near(lesson.decode), prompt=_near(lesson.prompt))
    if lesson.decode is None and lesson.prompt is None:
        return

    def add(known: Lessons) -> Lessons:
        same = [one for one in known.answers if one.same_model(lesson)]
        old = same[: max(0, len(same) + 1 - RECENT)]
        kept = [one for one in known.answers if not any(one is each for each in old)]
        return replace(known, answers=(*kept, lesson)[-MOST_ANSWERS:])

    _change(settings, add)


def _near(ratio: Any) -> float | None:
    """The ratio, if it is one and not too far from 1."""
    if not isinstance(ratio, int | float) or isinstance(ratio, bool):
        return None
    near = math.isfinite(ratio) and 1 / FARTHEST <= ratio <= FARTHEST
    return float(ratio) if near else None


def _loads(entries: Any) -> tuple[LoadLesson, ...]:
    read = [LoadLesson(int(one["predicted_bytes"]), int(one["measured_bytes"])) for one in entries]
    return tuple(one for one in read if one.predicted_bytes > 0 and one.measured_bytes > 0)


def _answers(entries: Any) -> tuple[AnswerLesson, ...]:
    """Those of an earlier layout, by architecture, are left out."""
    if not isinstance(entries, list):
        return ()
    return tuple(
        AnswerLesson(
            machine=str(one["machine"]),
            backend=str(one["backend"]),
            architecture=str(one["architecture"]),
            parameters=int(one["parameters"]),
            quantization=str(one["quantization"]),
            decode=_near(one["decode"]),
            prompt=_near(one["prompt"]),
        )
        for one in entries
    )


def _change(settings: Settings, change: Callable[[Lessons], Lessons]) -> None:
    """Put what is known, changed, in the place of the file, whole or not at all."""
    path = _path(settings)
    with contextlib.suppress(OSError, Timeout):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=LOCK_SECONDS):
            _write(path, {"format": FORMAT, **asdict(change(lessons(settings)))})


def _write(path: Path, document: dict[str, Any]) -> None:
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(document, stream)
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


def _path(settings: Settings) -> Path:
    return settings.data_dir / FILE_NAME
