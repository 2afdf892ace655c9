"""What a server computed serves the next one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Server, Start

pytestmark = pytest.mark.e2e

LONG = " ".join(f"Number {number} is followed by {number + 1}." for number in range(60))


def ask(server: Server) -> tuple[str, int]:
    """The answer, and how many tokens of the prompt were not computed."""
    answer = server.client().chat.completions.create(
        model="localserve-tiny",
        messages=[{"role": "user", "content": f"{LONG} What is the capital of France?"}],
        temperature=0,
        max_tokens=24,
    )
    assert answer.usage is not None
    details = answer.usage.prompt_tokens_details
    cached = details.cached_tokens if details else None
    return answer.choices[0].message.content or "", cached or 0


def test_a_conversation_goes_on_after_a_restart(start: Start, tmp_path: Path) -> None:
    first = start()
    text, cached = ask(first)
    assert cached == 0
    assert first.stop() == 0
    assert list(tmp_path.glob("cache/prefixes/*/*.kv"))
    second = start()
    again, cached = ask(second)
    assert again == text
    assert cached > 256
    (model,) = second.get("/admin/models").json()["models"]
    assert model["prefix_disk_bytes"] > 0


def test_switched_off_nothing_is_written(start: Start, tmp_path: Path) -> None:
    off = {"LOCALSERVE_PREFIX_DISK_BYTES": "0"}
    first = start(environ=off)
    ask(first)
    assert first.stop() == 0
    assert not (tmp_path / "cache" / "prefixes").exists()
    assert ask(start(environ=off))[1] == 0


def test_damaged_files_are_computed_again(start: Start, tmp_path: Path) -> None:
    first = start()
    text, _ = ask(first)
    assert first.stop() == 0
    for path in tmp_path.glob("cache/prefixes/*/*.kv"):
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
    second = start()
    assert ask(second) == (text, 0)
    assert "is left out and removed" in second.output
