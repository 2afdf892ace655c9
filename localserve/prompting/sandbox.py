"""Rendering in child processes, so that an untrusted template cannot hold or exhaust the server.

Knows processes and pipes, nothing of what a template does. Lives on the event loop; large requests
are encoded in a worker.

A child is started ahead and reused from render to render. It is killed when a render goes past its
deadline or is cancelled in the middle, and its successor starts at once. A child serves one render
at a time; a second one is started when the first is busy.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections import deque
from collections.abc import Coroutine
from pathlib import Path

import localserve
from localserve.errors import Overloaded, TemplateFailed, Unavailable
from localserve.prompting.frames import HEADER_BYTES, decode_answer, encode_request
from localserve.prompting.renderer import MEMORY_BYTES, OUT_OF_MEMORY_STATUS, READY
from localserve.prompting.template import OUTPUT_CHARACTERS, RenderRequest

RENDER_SECONDS = 2.0
START_SECONDS = 20.0
WAIT_SECONDS = 30.0
CHILDREN = 2
WAITING = 256

ENCODE_IN_WORKER_CHARACTERS = 256 << 10
"""From this size on a conversation is encoded off the event loop."""

_ENVIRONMENT_KEPT = ("PATH", "SYSTEMROOT", "WINDIR", "PYTHONHOME", "TZ", "LANG", "LC_ALL")


class TemplateProcess:
    """Renders conversations with chat templates in child processes of its own.

    One serves all models, so that what the children take is the server's and no model's: about
    20 MiB each, whatever is loaded. A child keeps nothing of a conversation.

    Belongs to the event loop on which it is used. `render_seconds` bounds one render, from the
    moment a ready child gets it.
    """

    def __init__(self, *, render_seconds: float = RENDER_SECONDS) -> None:
        self.render_seconds = render_seconds
        self._count = 0
        self._coming = 0  # those of `_count` that are not ready yet
        self._children: set[Process] = set()
        self._idle: list[Process] = []
        self._waiters: deque[asyncio.Future[Process]] = deque()
        self._starting: set[asyncio.Task[None]] = set()
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False
        self._empty = asyncio.Event()  # set when the last child is discarded, after closing

    async def start(self) -> None:
        """Begin to start the first child; returns at once, a render waits until it is ready."""
        if not self._closed and self._count == 0:
            self._spawn()

    async def render(self, request: RenderRequest) -> str:
        """The text of the prompt.

        Raises: TemplateFailed, when the template refuses the messages or does not end within its
        limits; InvalidRequest, for what no template could render; Overloaded, when too many renders
        wait; Unavailable, when no child can be started.
        """
        frame = await _encode(request)
        child = await self._acquire()
        try:
            async with asyncio.timeout(self.render_seconds):
                answer = await _exchange(child, frame)
        except TimeoutError:
            self._replace(child)
            raise TemplateFailed(
                f"The model's chat template did not end within {self.render_seconds:g} seconds."
            ) from None
        except BaseException as error:
            self._replace(child)
            if self._closed and isinstance(error, TemplateFailed):
                raise _closing() from None
            raise
        self._release(child)
        return decode_answer(answer)

    async def close(self) -> None:
        """End all children; renders that run or wait fail with Unavailable."""
        self._closed = True
        self._fail_waiters(_closing())
        # A child that is starting or busy is discarded by who reads from it, at its end.
        for child in self._children:
            _kill(child)
        while self._idle:
            self._discard(self._idle.pop())
        while self._starting:
            await asyncio.wait(self._starting)
        if self._children:
            await self._empty.wait()
        if self._ending:
            await asyncio.wait(self._ending)

    async def _acquire(self) -> Process:
        while self._idle:
            child = self._idle.pop()
            if child.returncode is None:
                return child
            self._discard(child)
        if self._closed:
            raise _closing()
        if len(self._waiters) >= WAITING:
            raise Overloaded(f"{WAITING} conversations wait to be rendered already.")
        if self._count < CHILDREN and self._coming <= len(self._waiters):
            self._spawn()
        return await self._wait()

    async def _wait(self) -> Process:
        waiter: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                return await waiter
        except BaseException as error:
            with contextlib.suppress(ValueError):
                self._waiters.remove(waiter)
            # A child may have been handed over in the moment before the cancellation.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._release(waiter.result())
            if isinstance(error, TimeoutError):
                raise Overloaded(
                    f"No renderer of chat templates was free for {WAIT_SECONDS:g} seconds."
                ) from None
            raise

    def _release(self, child: Process) -> None:
        """Hand a ready child to who waits longest, or keep it for the next render."""
        if self._closed:
            self._discard(child)
            return
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(child)
                return
        self._idle.append(child)

    def _replace(self, child: Process) -> None:
        self._discard(child)
        if not self._closed:
            self._spawn()

    def _discard(self, child: Process) -> None:
        if child in self._children:
            self._children.remove(child)
            self._count -= 1
            _run(_end(child), self._ending)
            if self._closed and not self._children:
                self._empty.set()

    def _spawn(self) -> None:
        self._count += 1
        self._coming += 1
        _run(self._start_child(), self._starting)

    async def _start_child(self) -> None:
        """Never cancelled in the middle of creating a process: nobody would own it then."""
        child: Process | None = None
        try:
            child = await _create()
            self._children.add(child)
            problem = "the server is shutting down" if self._closed else await _problem(child)
        except OSError as error:
            problem = f"{type(error).__name__}: {error}"
        self._coming -= 1
        if child is None:
            self._count -= 1
        elif problem is None:
            self._release(child)
        else:
            self._discard(child)
        if problem is not None:
            self._give_up(problem)

    def _give_up(self, problem: str) -> None:
        """Waiters are told only when there is no child left that could serve them."""
        if self._count == 0:
            text = f"The renderer of chat templates could not be started: {problem}."
            self._fail_waiters(Unavailable(text))

    def _fail_waiters(self, error: Unavailable) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_exception(error)


async def _encode(request: RenderRequest) -> bytes:
    """The frame of a request, made in a worker where it would hold up the event loop; of tools
    nobody knows how long their schemas are."""
    characters = sum(
        len(text)
        for message in request.messages
        for text in (message.content, message.reasoning)
        if text is not None
    )
    if characters < ENCODE_IN_WORKER_CHARACTERS and not request.tools:
        return encode_request(request)
    return await asyncio.to_thread(encode_request, request)


def _run(work: Coroutine[None, None, None], tasks: set[asyncio.Task[None]]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _closing() -> Unavailable:
    return Unavailable("The server is shutting down.")


async def _create() -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "localserve.prompting.renderer"),
        stdin=PIPE,
        stdout=PIPE,
        stderr=DEVNULL,
        env=_environment(),
    )


async def _problem(child: Process) -> str | None:
    """Wait until a new child is ready; otherwise say why it is not."""
    assert child.stdout is not None
    try:
        async with asyncio.timeout(START_SECONDS):
            first = await child.stdout.readexactly(len(READY))
    except TimeoutError:
        return f"it was not ready within {START_SECONDS:g} seconds"
    except (OSError, asyncio.IncompleteReadError):
        return f"it ended at once, with exit status {await child.wait()}"
    return None if first == READY else "it did not begin as expected"


def _environment() -> dict[str, str]:
    """Enough to find this package, and none of the server's secrets."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT_KEPT if name in os.environ}
    return {**kept, "PYTHONPATH": str(Path(localserve.__file__).resolve().parent.parent)}


async def _exchange(child: Process, frame: bytes) -> bytes:
    """Send a request, receive the body of the answer.

    Raises: TemplateFailed, when the child dies of the request or answers far too much.
    """
    assert child.stdin is not None
    assert child.stdout is not None
    largest_bytes = 8 * (OUTPUT_CHARACTERS + 4 * len(frame))
    try:
        child.stdin.write(frame)
        await child.stdin.drain()
        header = await child.stdout.readexactly(HEADER_BYTES)
        length = int.from_bytes(header, "big")
        if length > largest_bytes:
            raise TemplateFailed(f"The model's chat template wrote {length} bytes.")
        return await child.stdout.readexactly(length)
    except (ConnectionError, asyncio.IncompleteReadError):
        status = await child.wait()
    if status == OUT_OF_MEMORY_STATUS:
        raise TemplateFailed(
            f"The model's chat template needs more than {MEMORY_BYTES >> 20} MB of memory."
        )
    raise TemplateFailed(
        f"The model's chat template ended the process that renders it (exit status {status})."
    )


def _kill(child: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        child.kill()


async def _end(child: Process) -> None:
    """Kill a child and wait until nothing of it is left."""
    assert child.stdin is not None
    assert child.stdout is not None
    _kill(child)
    child.stdin.close()
    while await child.stdout.read(1 << 16):
        pass
    await child.wait()
