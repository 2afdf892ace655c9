"""Servers on a folder of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.disk.servers import Servers
from tests.engine.rig import PATIENCE_SECONDS


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    made = Servers(tmp_path)
    yield made
    for shelf in made.shelves:
        shelf.close(PATIENCE_SECONDS)
