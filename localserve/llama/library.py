"""llama.cpp as loaded into this process: its log, its way to die.

Everything here is process-wide and done once. Callbacks into Python are kept referenced for ever:
llama.cpp calls them for as long as the process lives.
"""

from __future__ import annotations

import ctypes
import functools
import logging
import pathlib
import re
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import llama_cpp
import llama_cpp._ctypes_extensions as ctypes_extensions

log = logging.getLogger("llama.cpp")

LEVELS = {
    1: logging.DEBUG,
    2: logging.DEBUG,  # what llama.cpp calls information is noise to a user
    3: logging.WARNING,
    4: logging.ERROR,
}
CONTINUES_LINE = 5

MOST_ERRORS = 100
"""Of all threads together. Who calls llama.cpp takes its own after each call that fails."""

OUT_OF_MEMORY = (
    "out of memory",
    "failed to allocate",
    "unable to allocate",
    "insufficient memory",
    "failed to reserve",
    "ErrorOutOfDeviceMemory",
)
"""What ggml's backends say where an allocation fails. Source: ggml.c, ggml-backend.cpp,
ggml-cuda.cu, ggml-vulkan.cpp, ggml-metal-device.m, llama-kv-cache.cpp."""


class _Log:
    """Joins llama.cpp's fragments to lines, and remembers the newest errors, thread by thread.

    On a thread where `hushed` is set, errors are only remembered: the caller tells of them.
    Threads are known by their numbers: those that are not Python's have no locals that last.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.hushed = threading.local()
        self._begun: dict[int, tuple[int, str]] = {}
        self._errors: deque[tuple[int, str]] = deque(maxlen=MOST_ERRORS)
        self.callback = llama_cpp.llama_log_callback(self._receive)

    def _receive(self, level: int, text: bytes | None, _: object) -> None:
        thread = threading.get_ident()
        with self._lock:
            before, line = self._begun.pop(thread, (logging.DEBUG, ""))
            severity = before if level == CONTINUES_LINE else LEVELS.get(level, logging.DEBUG)
            line += (text or b"").decode("utf-8", "replace")
            if not line.endswith("\n"):
                self._begun[thread] = severity, line
                return
            line = line.strip()
            if severity >= logging.ERROR:
                self._errors.append((thread, line))
        if line:
            log.log(logging.DEBUG if hasattr(self.hushed, "now") else severity, line)

    def take_errors(self) -> list[str]:
        """What this thread's calls logged, oldest first; forgets it."""
        thread = threading.get_ident()
        with self._lock:
            mine = [line for owner, line in self._errors if owner == thread]
            others = [(owner, line) for owner, line in self._errors if owner != thread]
            self._errors = deque(others, maxlen=MOST_ERRORS)
        return mine


_abort_watcher: Callable[[str], None] = lambda reason: None  # noqa: E731


def _announce_abort(message: bytes | None) -> None:
    """Runs on the thread whose assertion failed; when it returns, the process aborts."""
    text = (message or b"").decode("utf-8", "replace")
    _abort_watcher(re.sub(r"^\S*[/\\]", "", text))  # the path is the compiling machine's


_abort_callback = ctypes.CFUNCTYPE(None, ctypes.c_char_p)(_announce_abort)


def watch_abort(watcher: Callable[[str], None]) -> None:
    """Call `watcher` with the reason when llama.cpp is about to abort the process.

    It runs on the failing thread; the process dies when it returns, so it may wait a moment for
    other threads to say goodbye. A later watcher replaces the earlier one.
    """
    global _abort_watcher
    _abort_watcher = watcher


@functools.cache
def start() -> _Log:
    """Initialise llama.cpp once; returns its log."""
    receiver = _Log()
    llama_cpp.llama_log_set(receiver.callback, ctypes.c_void_p(0))
    ggml("ggml_set_abort_callback", ctypes.c_void_p, [ctypes.c_void_p])(_abort_callback)
    llama_cpp.llama_backend_init()
    return receiver


def version() -> str:
    """Which llama.cpp this is: the bindings' version, which pins its source, and the size of the
    library, which tells builds apart that were put in its place."""
    library = pathlib.Path(llama_cpp.llama_cpp._lib._name)
    size = library.stat().st_size if library.is_file() else 0
    return f"{llama_cpp.__version__}/{size}"


def newest_errors() -> list[str]:
    """The last errors that llama.cpp logged on this thread, oldest first; forgets them."""
    return start().take_errors()


def memory_ran_out(reasons: Sequence[str]) -> bool:
    """Whether errors that llama.cpp logged say that there was no memory."""
    return any(word in reason for reason in reasons for word in OUT_OF_MEMORY)


def hush() -> None:
    """On this thread, keep llama.cpp's errors for `newest_errors` instead of logging them."""
    start().hushed.now = True


def ggml(name: str, restype: type | None, argtypes: Sequence[type] = ()) -> Callable[..., Any]:
    """A function of ggml that llama-cpp-python does not bind.

    It is looked up through llama.cpp's own handle: a wheel may hold several copies of ggml's
    libraries under different names, and only the linked one is the one that computes.
    Raises: AttributeError, if this build has none of that name.
    """
    function = _find(name)
    function.restype = restype
    function.argtypes = argtypes
    return function


def _find(name: str) -> Any:
    try:
        return getattr(llama_cpp.llama_cpp._lib, name)
    except AttributeError:  # Windows looks into one library only, but has no copies
        for library in ("ggml", "ggml-base"):
            if hasattr(_load(library), name):
                return getattr(_load(library), name)
        raise


@functools.cache
def _load(library: str) -> ctypes.CDLL:
    folder = pathlib.Path(llama_cpp.__file__).parent / "lib"
    return ctypes_extensions.load_shared_library(library, folder)
