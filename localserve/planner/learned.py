"""What loads and answers on this machine have taught: how far predictions were off, kept on disk.

By architecture and backend; of speeds also by quantization. Losing the file loses nothing but that.
Never raises: what cannot be read counts as not there, what cannot be written is not kept. Blocks
for the disk; any thread.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from filelock import FileLock, Timeout

from localserve.config import Settings
from localserve.gguf.facts import GgufFacts
from localserve.planner.speed import AS_PREDICTED, Corrections

FILE_NAME: Final = "learned.json"
FORMAT: Final = 1
MOST_BYTES: Final = 4 << 20
MOST_SUBJECTS: Final = 200
MOST_ENTRIES: Final = 32
"""Of each kind and subject; the newest are kept."""

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
    """One answer that had the machine to itself: measured over predicted times per token."""

    quantization: str
    decode: float | None
    prompt: float | None


@dataclass(frozen=True, slots=True)
class Lessons:
    """Everything that was learned, as it is on disk now. Subjects are 'ARCHITECTURE BACKEND'."""

    loads: Mapping[str, tuple[LoadLesson, ...]] = field(default_factory=dict)
    answers: Mapping[str, tuple[AnswerLesson, ...]] = field(default_factory=dict)

    def surcharge(self, architecture: str, backend: str) -> float:
        """The share by which loads took more than predicted, at worst; 0 if they never did."""
        found = self.loads.get(subject(architecture, backend), ())
        most = max((one.measured_bytes / one.predicted_bytes for one in found), default=1.0)
        return min(max(0.0, most - 1), MOST_SURCHARGE)

    def corrections(self, architecture: str, backend: str, quantization: str) -> Corrections:
        """The median of answers with that quantization, else of all with that architecture."""
        found = self.answers.get(subject(architecture, backend), ())
        same = [one for one in found if one.quantization == quantization] or found
        if not same:
            return AS_PREDICTED
        decode = [one.decode for one in same if one.decode is not None]
        prompt = [one.prompt for one in same if one.prompt is not None]
        return Corrections(
            median(decode) if decode else 1.0, median(prompt) if prompt else 1.0, len(same)
        )

    def correct(self, facts: GgufFacts, quantization: str, backend: str) -> Corrections:
        """`corrections`, as plans ask for them."""
        return self.corrections(facts.architecture, backend, quantization)


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
        answers = {str(key): _answers(value) for key, value in document["answers"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Lessons()
    return Lessons(loads, answers)


def learn_load(settings: Settings, architecture: str, backend: str, lesson: LoadLesson) -> None:
    """Keep what a load taught."""
    if lesson.predicted_bytes > 0 and lesson.measured_bytes > 0:
        _add(settings, "loads", subject(architecture, backend), asdict(lesson))


def learn_answer(settings: Settings, architecture: str, backend: str, lesson: AnswerLesson) -> None:
    """Keep what an answer taught, unless it is too far off to be true."""
    lesson = AnswerLesson(lesson.quantization, _near(lesson.decode), _near(lesson.prompt))
    if lesson.decode is not None or lesson.prompt is not None:
        _add(settings, "answers", subject(architecture, backend), asdict(lesson))


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
    return tuple(
        AnswerLesson(str(one["quantization"]), _near(one["decode"]), _near(one["prompt"]))
        for one in entries
    )


def _add(settings: Settings, kind: str, key: str, entry: dict[str, Any]) -> None:
    """Put an entry behind the others, whole or not at all."""
    path = _path(settings)
    with contextlib.suppress(OSError, Timeout):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=LOCK_SECONDS):
            known = lessons(settings)
            document: dict[str, Any] = {
                "format": FORMAT,
                "loads": _newest({key: list(map(asdict, known.loads[key])) for key in known.loads}),
                "answers": _newest(
                    {key: list(map(asdict, known.answers[key])) for key in known.answers}
                ),
            }
            entries = document[kind].pop(key, [])
            document[kind][key] = [*entries, entry][-MOST_ENTRIES:]
            _write(path, document)


def _newest(found: dict[str, list[dict[str, Any]]]) -> dict[str, list[dict[str, Any]]]:
    """The subjects that were learned of last."""
    return dict(list(found.items())[-MOST_SUBJECTS:])


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
