"""llama.cpp's log: whose errors are whose."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from localserve.errors import ModelUnusable
from localserve.llama import library
from localserve.llama.model import LlamaModel
from localserve.planner.runtime import Runtime

ERROR, CONTINUED = 4, library.CONTINUES_LINE


def say(level: int, text: str) -> None:
    """As llama.cpp does, on the thread that computes or loads."""
    library.start().callback(level, text.encode(), None)


def on_another_thread(work: Callable[[], object]) -> None:
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_errors_belong_to_the_thread_on_which_they_came() -> None:
    library.newest_errors()
    say(ERROR, "mine\n")
    on_another_thread(lambda: say(ERROR, "failed to allocate another model's buffer\n"))
    assert library.newest_errors() == ["mine"]
    assert library.newest_errors() == []


def test_one_who_begins_a_load_forgets_nobody_elses_errors() -> None:
    say(ERROR, "mine\n")
    on_another_thread(library.newest_errors)
    assert library.newest_errors()[-1] == "mine"


def test_pieces_of_lines_are_joined_thread_by_thread() -> None:
    library.newest_errors()
    say(ERROR, "the first half")
    on_another_thread(lambda: say(ERROR, "a line of another\n"))
    say(CONTINUED, " and the second\n")
    assert library.newest_errors() == ["the first half and the second"]


def test_loads_that_fail_at_once_give_their_own_reasons(
    monkeypatch: pytest.MonkeyPatch, tiny_f16: Path, tmp_path: Path
) -> None:
    both_failed = threading.Barrier(2)

    def fail(path: bytes, parameters: object) -> None:
        say(ERROR, f"no room for {Path(path.decode()).name}\n")
        both_failed.wait(10)

    monkeypatch.setattr("llama_cpp.llama_model_load_from_file", fail)
    copies = [tmp_path / name for name in ("one.gguf", "two.gguf")]
    for copy in copies:
        copy.write_bytes(tiny_f16.read_bytes())

    def load(path: Path) -> str:
        with pytest.raises(ModelUnusable) as caught:
            LlamaModel(path, Runtime(256, 1))
        return caught.value.message.partition(": ")[2]

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(load, copies)) == ["no room for one.gguf.", "no room for two.gguf."]
