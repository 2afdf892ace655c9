"""A server with three models, and a user's account with nothing in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from localserve.connect.places import Surroundings
from localserve.connect.served import Served, ServedModel

CHAT = ServedModel("org/chat-8b", 32_768, ("completion", "insert"))
EMBEDDER = ServedModel("embedder", 2_048, ("embedding",))
RERANKER = ServedModel("ranker", 512, ("rerank",))


@pytest.fixture
def served() -> Served:
    return Served("http://127.0.0.1:8080", (CHAT, EMBEDDER, RERANKER))


@pytest.fixture
def account(tmp_path: Path) -> Surroundings:
    home = tmp_path / "user"
    home.mkdir()
    return Surroundings("linux", home, {"PATH": str(home / "bin")})
