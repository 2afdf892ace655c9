"""Whatever comes, with restarts and damage between: answers are what they would be without a disk.

The scripted runner takes the tokens that it holds from what is read, so that a wrong byte would
show in the cells, which are compared with the tree after each step.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from localserve.engine import scheduler
from localserve.engine.disk import restoring, saving
from localserve.engine.disk.folder import PrefixFolder
from localserve.engine.disk.shelf import Shelf
from localserve.engine.scripted import ScriptedRunner
from tests.engine.rig import PATIENCE_SECONDS, PairVocabulary, Rig
from tests.engine.test_scheduler_properties import AnyTrace


class AnyTraceWithADisk(AnyTrace):
    """With bounds so small that everything goes to disk."""

    crowding_slows = False

    def __init__(self) -> None:
        super().__init__()
        self.kept_open = ExitStack()
        self.folder = Path(self.kept_open.enter_context(tempfile.TemporaryDirectory()))
        for module, name, value in (
            (saving, "WORTH_WRITING", 8),
            (saving, "WORTH_WRITING_CROWDED", 8),
            (saving, "IDLE_SECONDS_CROWDED", 0.0),
            (scheduler, "WORTH_THE_CELLS", 2),
            (saving, "PIECE_TOKENS", 16),
            (saving, "LEAST_TOKENS", 2),
            (saving, "IDLE_SECONDS", 0.0),
            (restoring, "WORTH_READING", 4),
        ):
            self.kept_open.enter_context(patch.object(module, name, value))
        self.kept_open.enter_context(patch.object(Shelf, "read_seconds", lambda *these: None))

    @initialize(limit=st.sampled_from([3_000, 1 << 20]))
    def open_disk(self, limit: int) -> None:
        self.limit = limit
        self.rig.runner.crowding_slows = self.crowding_slows
        self._start(self.rig.runner)

    def _start(self, runner: ScriptedRunner) -> None:
        folder = PrefixFolder(self.folder, self.limit)
        self.shelf = Shelf(folder, {}, cuttable=self.cuts_anywhere)
        self.rig = Rig(runner, max_running=4, shelf=self.shelf)
        self.cancelled = set()

    @rule(damage=st.booleans())
    def restart(self, damage: bool) -> None:
        """With `damage`, no file is whole afterwards."""
        old = self.rig.runner
        self.check_answers()
        self.rig.save_all()
        self.shelf.close(PATIENCE_SECONDS)
        for path in self.folder.glob("*/*.kv") if damage else ():
            _flip(path, 1.0, 1)
        runner = ScriptedRunner(
            cells=old.cells,
            slots=old.slots,
            batch_tokens=old.batch_tokens,
            on_run=self._fail,
            guess_tokens=self.guess_tokens,
            cuts_anywhere=self.cuts_anywhere,
            checkpoint_bytes=old.checkpoint_bytes,
            crowding_slows=self.crowding_slows,
        )
        if self.in_any_tokens:
            runner.vocabulary = PairVocabulary()
        self._start(runner)

    @precondition(lambda self: self.rig.scheduler.idle)
    @rule()
    def save_what_is_idle(self) -> None:
        assert self.rig.scheduler.saver is not None
        self.rig.scheduler.saver.save_some()

    @rule(
        which=st.integers(0, 10_000),
        kind=st.sampled_from(["flip", "cut", "remove"]),
        place=st.floats(0.0, 1.0),
        bits=st.integers(1, 255),
    )
    def damage(self, which: int, kind: str, place: float, bits: int) -> None:
        self.shelf.wait_for_room(PATIENCE_SECONDS)
        files = sorted(self.folder.glob("*/*.kv"))
        if not files:
            return
        path = files[which % len(files)]
        if kind == "remove":
            path.unlink()
        elif kind == "cut":
            content = path.read_bytes()
            path.write_bytes(content[: int(place * len(content))])
        else:
            _flip(path, place, bits)

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.shelf.close(PATIENCE_SECONDS)
            self.kept_open.close()


def _flip(path: Path, place: float, bits: int) -> None:
    """Change one byte, the first at 0.0 and the last at 1.0, of a file that has any."""
    content = bytearray(path.read_bytes())
    if content:
        content[round(place * (len(content) - 1))] ^= bits
        path.write_bytes(content)


class AnyTraceWithADiskThatCannotBeCut(AnyTraceWithADisk):
    cuts_anywhere = False


class AnyTraceWithADiskInAnyTokens(AnyTraceWithADisk):
    in_any_tokens = True
    guess_tokens = 5


class AnyTraceThatSetsAside(AnyTraceWithADisk):
    crowding_slows = True


class AnyTraceThatSetsAsideInAnyTokens(AnyTraceWithADiskInAnyTokens):
    crowding_slows = True


QUICK = settings(max_examples=15, stateful_step_count=30, deadline=None)
TestAnyTraceWithADisk = AnyTraceWithADisk.TestCase
TestAnyTraceWithADisk.settings = QUICK
TestAnyTraceWithADiskThatCannotBeCut = AnyTraceWithADiskThatCannotBeCut.TestCase
TestAnyTraceWithADiskThatCannotBeCut.settings = QUICK
TestAnyTraceWithADiskInAnyTokens = AnyTraceWithADiskInAnyTokens.TestCase
TestAnyTraceWithADiskInAnyTokens.settings = QUICK
TestAnyTraceThatSetsAside = AnyTraceThatSetsAside.TestCase
TestAnyTraceThatSetsAside.settings = QUICK
TestAnyTraceThatSetsAsideInAnyTokens = AnyTraceThatSetsAsideInAnyTokens.TestCase
TestAnyTraceThatSetsAsideInAnyTokens.settings = QUICK
