"""A server with a model that does as it is told: it calls a tool, and answers with its result.

HTTP, dialects and streams are the real ones. For clients whose prompts are too long for the
built-in model.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass

from localserve.chat import ChatEvent, ChatRequest, ToolCall
from localserve.config import read_settings
from localserve.connect.served import Served, ServedModel
from localserve.server.app import create_app
from localserve.server.web import WebServer
from localserve.testing import FakeBackend, Piece, fake_manager

NAME = "scripted"
CONTEXT_TOKENS = 200_000

Part = Callable[[ChatRequest], str | Sequence[Piece]]
"""From a request to its answer."""


class ScriptedModel(FakeBackend):
    """Answers by `part`, which sees whole requests, tools included."""

    def __init__(self, part: Part) -> None:
        super().__init__(name=NAME, context_tokens=CONTEXT_TOKENS)
        self._part = part

    async def chat(self, request: ChatRequest) -> AsyncGenerator[ChatEvent, None]:
        self.requests.append(request)
        once = FakeBackend(lambda _: self._part(request), name=NAME, context_tokens=CONTEXT_TOKENS)
        async with aclosing(once.chat(request)) as events:
            async for event in events:
                yield event


@dataclass(frozen=True, slots=True)
class Scripted:
    """A running one: what clients have to know of it, and the requests that came."""

    served: Served
    model: ScriptedModel

    @property
    def chats(self) -> list[ChatRequest]:
        return [one for one in self.model.requests if isinstance(one, ChatRequest)]


@contextmanager
def scripted_server(part: Part) -> Iterator[Scripted]:
    """A server in a thread of this process."""
    model = ScriptedModel(part)
    settings = read_settings({}, {"LOCALSERVE_HOME": "/nonexistent"})
    server = WebServer(create_app(fake_manager(model), settings), settings)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    known = ServedModel(NAME, CONTEXT_TOKENS, ("completion",))
    try:
        yield Scripted(Served(f"http://127.0.0.1:{port}", (known,)), model)
    finally:
        server.stop()
        thread.join()


def use_tool(names: Sequence[str], arguments: dict[str, object]) -> Part:
    """Calls the first of the tools that is offered, then says its result back; a request without
    that tool (for a title, say) gets a few words."""

    def part(request: ChatRequest) -> str | Sequence[Piece]:
        last = request.messages[-1]
        if last.role == "tool":
            return f"The tool said: {last.content}"
        offered = [tool.name for tool in request.tools]
        for name in names:
            if name in offered:
                return [ToolCall("call00001", name, json.dumps(arguments))]
        return "No such tool."

    return part
