"""Schedulers one after the other, whose prefixes go to the same folder."""

from __future__ import annotations

import random
from pathlib import Path

from localserve.engine.disk.folder import PrefixFolder
from localserve.engine.disk.shelf import Shelf
from localserve.engine.scripted import ScriptedRunner
from localserve.engine.sequence import Sequence
from tests.engine.rig import PATIENCE_SECONDS, Rig, request

LONG = bytes(random.Random(1).choices(range(32, 122), k=700))

LIMIT = 1 << 20


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


class Servers:
    """One after the other on the same folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = Clock()
        self.shelves: list[Shelf] = []

    def start(
        self,
        runner: ScriptedRunner | None = None,
        *,
        limit: int = LIMIT,
        model: int = 1,
        max_running: int = 4,
    ) -> Rig:
        runner = runner or ScriptedRunner(cells=4_000)
        shelf = Shelf(
            PrefixFolder(self.folder, limit),
            {"model": model},
            cuttable=runner.cuts_anywhere,
            clock=self.clock,
        )
        self.shelves.append(shelf)
        return Rig(runner, max_running=max_running, shelf=shelf, clock=self.clock)

    def stop(self, rig: Rig) -> None:
        rig.scheduler.retire()
        rig.save_all()
        self.shelves[-1].close(PATIENCE_SECONDS)

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*/*.kv"))


def ask(rig: Rig, prompt: bytes | list[int], **options: object) -> Sequence:
    sequence = rig.submit(request(prompt, **options))  # type: ignore[arg-type]
    rig.finish()
    return sequence


def cached(rig: Rig, sequence: Sequence) -> int:
    return rig.ended(sequence).cached_tokens
