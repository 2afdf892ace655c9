"""The rendering child: reads requests from standard input and writes prompts to standard output.

Run by `localserve.prompting.sandbox` as `python -m localserve.prompting.renderer`; knows nothing
of asyncio or the server. One thread. It may be killed at any moment, and it ends by itself when its
input closes, when it runs out of memory, and when a render outlasts the server's patience: the
server may have died.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from functools import lru_cache
from typing import BinaryIO

from localserve.errors import InvalidRequest
from localserve.prompting.frames import HEADER_BYTES, decode_request, encode_answer
from localserve.prompting.template import ChatTemplate

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

MEMORY_BYTES = 768 << 20
"""Most address space that the child may have."""

SELF_DESTRUCT_SECONDS = 3
"""How long one render may take before the child ends itself, if nobody has killed it before."""

OUT_OF_MEMORY_STATUS = 71
"""Exit status for a render that needed more than MEMORY_BYTES."""

READY = encode_answer("ready")
"""First frame of a child, sent when everything is imported."""


def main() -> None:
    # A signal to the whole group is for the server, which drains first and closes the input then.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    requests, answers = _take_pipes()
    _limit("RLIMIT_AS", MEMORY_BYTES)
    _limit("RLIMIT_CORE", 0)
    answers.write(READY)
    answers.flush()
    try:
        while body := _read_frame(requests):
            # Works without the interpreter's lock, so also within one endless operation.
            faulthandler.dump_traceback_later(SELF_DESTRUCT_SECONDS, exit=True)
            answer = encode_answer(_answer(body))
            faulthandler.cancel_dump_traceback_later()
            answers.write(answer)
            answers.flush()
    except MemoryError:
        os._exit(OUT_OF_MEMORY_STATUS)
    except BrokenPipeError:
        os._exit(0)


def _answer(body: bytes) -> str | InvalidRequest:
    _limit_processor_time()
    request = decode_request(body)
    try:
        return _compiled(request.template, request.bos, request.eos).render(request)
    except InvalidRequest as refusal:
        return refusal


@lru_cache(maxsize=8)
def _compiled(source: str, bos: str, eos: str) -> ChatTemplate:
    return ChatTemplate(source, bos=bos, eos=eos)


def _take_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Both ends, private: whatever else is printed goes nowhere."""
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (open as long as the process lives)
    return requests, answers


def _read_frame(requests: BinaryIO) -> bytes | None:
    header = requests.read(HEADER_BYTES)
    if len(header) < HEADER_BYTES:
        return None
    length = int.from_bytes(header, "big")
    body = requests.read(length)
    return body if len(body) == length else None


def _limit(name: str, value: int) -> None:
    if resource is None or not hasattr(resource, name):
        return
    kind = getattr(resource, name)
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    try:
        resource.setrlimit(kind, (value, hard))
    except (ValueError, OSError):  # macOS refuses limits on address space
        return


def _limit_processor_time() -> None:
    """Anew for each request: the limit counts from the start of the process."""
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    _limit("RLIMIT_CPU", int(used.ru_utime + used.ru_stime) + SELF_DESTRUCT_SECONDS + 1)


if __name__ == "__main__":
    main()
