"""A server without a model, for tests of programs that use one: answers come from a script.

    with fake_server(FakeBackend("Paris it is.")) as server:
        assert my_program(server.url) == "Paris it is."

`fakes.py` has what stands in for a model, its file and the machine; `server.py` puts the real
server around it.
"""

from localserve.chat import ToolCall
from localserve.testing.fakes import (
    FakeBackend,
    FakeOffer,
    FakeRoom,
    Piece,
    Script,
    Thought,
    fake_estimate,
    fake_manager,
    fake_spec,
)
from localserve.testing.server import FakeServer, fake_server

__all__ = [
    "FakeBackend",
    "FakeOffer",
    "FakeRoom",
    "FakeServer",
    "Piece",
    "Script",
    "Thought",
    "ToolCall",
    "fake_estimate",
    "fake_manager",
    "fake_server",
    "fake_spec",
]
