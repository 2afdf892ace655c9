"""Rendering in child processes: templates that misbehave, and everything that can go wrong."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import psutil
import pytest
import pytest_asyncio

from localserve.chat import Message
from localserve.errors import InvalidRequest, Overloaded, TemplateFailed, Unavailable
from localserve.prompting import sandbox
from localserve.prompting.frames import encode_answer, encode_request
from localserve.prompting.renderer import READY
from localserve.prompting.sandbox import TemplateProcess
from localserve.prompting.template import CHATML, RenderRequest

GENEROUS_SECONDS = 60
ENDLESS = (
    "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}"
    "{% endfor %}{% endfor %}{% endfor %}"
)


def request(template: str = CHATML, text: str = "Hi") -> RenderRequest:
    return RenderRequest(template, (Message("user", text),))


def prompt(text: str = "Hi") -> str:
    return f"<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n"


@asynccontextmanager
async def started(**options: float) -> AsyncIterator[TemplateProcess]:
    process = TemplateProcess(**options)
    await process.start()
    try:
        async with asyncio.timeout(GENEROUS_SECONDS):
            yield process
    finally:
        await process.close()


@pytest_asyncio.fixture
async def process() -> AsyncIterator[TemplateProcess]:
    async with started() as ready:
        yield ready


def children() -> list[psutil.Process]:
    return [
        child
        for child in psutil.Process().children(recursive=False)
        if "localserve.prompting.renderer" in child.cmdline()
    ]


async def kill_children(process: TemplateProcess) -> None:
    for child in process._children:
        child.kill()
        await child.wait()


async def test_a_conversation_is_rendered(process: TemplateProcess) -> None:
    assert await process.render(request()) == prompt()


async def test_the_child_is_reused(process: TemplateProcess) -> None:
    await process.render(request())
    before = [child.pid for child in children()]
    for _ in range(5):
        await process.render(request())
    assert [child.pid for child in children()] == before
    assert len(before) == 1


async def test_a_child_starts_by_itself_when_nobody_has_started_one() -> None:
    process = TemplateProcess()
    assert await process.render(request()) == prompt()
    await process.close()
    assert children() == []


HOSTILE = {
    "a long string": "{{ 'a' * 10 ** 9 }}",
    "a longer string": "{{ 'a' * 10 ** 12 }}",
    "a wide field": "{{ '%1000000000d' % 1 }}",
    "doubling": "{% set n = namespace(a='aaaaaaaa') %}"
    "{% for i in range(60) %}{% set n.a = n.a ~ n.a %}{% endfor %}",
    "a growing list": "{% set n = namespace(a=[0]) %}"
    "{% for i in range(60) %}{% set n.a = n.a + n.a %}{% endfor %}",
    "joins": "{{ (range(99999) | list * 999) | join('xxxxxxxxxxxxxxxxxxxx') }}",
    "a huge range": "{% for i in range(10 ** 9) %}{% endfor %}",
    "recursion": "{% macro f(n) %}{{ f(n + 1) }}{{ f(n + 2) }}{% endmacro %}{{ f(0) }}",
    "a flood": "{% for i in range(99999) %}{{ 'x' * 1100 }}{% endfor %}",
    "a captured flood": "{% set x %}{% for i in range(99999) %}{{ 'x' * 9999 }}{% endfor %}"
    "{% endset %}{{ x | length }}",
    "python": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "nesting": "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
    "blocks": "{% if true %}" * 200 + "x" + "{% endif %}" * 200,
}


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_template_fails_and_the_next_render_works(
    process: TemplateProcess, name: str
) -> None:
    with pytest.raises(TemplateFailed):
        await process.render(request(HOSTILE[name]))
    assert await process.render(request()) == prompt()


@pytest.mark.parametrize("template", [ENDLESS, "{{ (9 ** (9 ** 9)) % 7 }}"])
async def test_an_endless_template_is_ended(template: str) -> None:
    async with started(render_seconds=1.0) as process:
        await process.render(request())
        with pytest.raises(TemplateFailed, match="did not end within 1 seconds"):
            await process.render(request(template))
        assert await process.render(request()) == prompt()
        assert len(children()) == 1


async def test_a_slow_template_does_not_hold_another_request() -> None:
    async with started(render_seconds=GENEROUS_SECONDS) as process:
        slow = asyncio.create_task(process.render(request(ENDLESS)))
        await asyncio.sleep(0)
        assert await process.render(request()) == prompt()
        assert not slow.done()
        slow.cancel()
        await asyncio.wait([slow])
        assert slow.cancelled()


async def test_many_at_once_get_their_own_answers(process: TemplateProcess) -> None:
    texts = [f"number {n} " * (n * 50) for n in range(20)]
    answers = await asyncio.gather(*(process.render(request(text=text)) for text in texts))
    assert answers == [prompt(text) for text in texts]
    assert len(children()) <= sandbox.CHILDREN


async def test_good_ones_are_answered_beside_bad_ones() -> None:
    async with started(render_seconds=1.0) as process:
        templates = [ENDLESS if n % 5 == 0 else CHATML for n in range(20)]
        answers = await asyncio.gather(
            *(process.render(request(template)) for template in templates),
            return_exceptions=True,
        )
        for template, answer in zip(templates, answers, strict=True):
            if template is CHATML:
                assert answer == prompt()
            else:
                assert isinstance(answer, TemplateFailed)


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancelled_render_leaves_no_answer_for_the_next(
    process: TemplateProcess, turns: int
) -> None:
    await process.render(request())
    cancelled = [asyncio.create_task(process.render(request(text="old"))) for _ in range(4)]
    for _ in range(turns):
        await asyncio.sleep(0)
    for task in cancelled:
        task.cancel()
    await asyncio.wait(cancelled)
    answers = await asyncio.gather(*(process.render(request(text=str(n))) for n in range(4)))
    assert answers == [prompt(str(n)) for n in range(4)]


async def test_a_child_that_died_while_idle_is_replaced(process: TemplateProcess) -> None:
    await process.render(request())
    await kill_children(process)
    assert await process.render(request()) == prompt()


async def test_refusals_keep_their_kind(process: TemplateProcess) -> None:
    with pytest.raises(InvalidRequest, match="is set by the server") as caught:
        await process.render(RenderRequest(CHATML, (), options={"messages": []}))
    assert not isinstance(caught.value, TemplateFailed)
    with pytest.raises(TemplateFailed, match="refused: not you"):
        await process.render(request("{{ raise_exception('not you') }}"))
    with pytest.raises(TemplateFailed, match="line 3"):
        await process.render(request("a\nb\n{% if %}"))


async def test_long_conversations_pass_in_both_directions(process: TemplateProcess) -> None:
    text = "wörds " * 400_000
    assert await process.render(request(text=text)) == prompt(text)


async def test_waiting_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "WAITING", 2)
    monkeypatch.setattr(sandbox, "CHILDREN", 1)
    async with started(render_seconds=GENEROUS_SECONDS) as process:
        await process.render(request())
        slow = asyncio.create_task(process.render(request(ENDLESS)))
        await asyncio.sleep(0)
        monkeypatch.setattr(sandbox, "WAIT_SECONDS", 0.2)
        waiting = [asyncio.create_task(process.render(request())) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="2 conversations wait"):
            await process.render(request())
        for task in waiting:
            with pytest.raises(Overloaded, match=r"0\.2 seconds"):
                await task
        monkeypatch.undo()
        slow.cancel()
        await asyncio.wait([slow])
        assert await process.render(request()) == prompt()


@pytest.mark.parametrize("executable", ["/nonexistent/python", "false", "echo"])
async def test_a_child_that_cannot_start_is_an_error_of_its_own(
    monkeypatch: pytest.MonkeyPatch, executable: str
) -> None:
    async with started() as process:
        await process.render(request())
        await kill_children(process)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "executable", executable)
            with pytest.raises(Unavailable, match="could not be started"):
                await process.render(request())
        assert await process.render(request()) == prompt()


async def test_a_child_that_hangs_at_start_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "START_SECONDS", 0.0)
    process = TemplateProcess()
    with pytest.raises(Unavailable, match="not ready within 0 seconds"):
        await process.render(request())
    await process.close()
    assert children() == []


async def test_closing_ends_children_and_fails_who_runs_or_waits() -> None:
    process = TemplateProcess(render_seconds=GENEROUS_SECONDS)
    await process.render(request())
    renders = [asyncio.create_task(process.render(request(ENDLESS))) for _ in range(4)]
    await asyncio.sleep(0.01)
    await process.close()
    for render in renders:
        with pytest.raises(Unavailable, match="shutting down"):
            await render
    with pytest.raises(Unavailable, match="shutting down"):
        await process.render(request())
    assert children() == []


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 10])
async def test_closing_while_a_child_starts_leaves_nothing(turns: int) -> None:
    process = TemplateProcess()
    await process.start()
    for _ in range(turns):
        await asyncio.sleep(0.002)
    await process.close()
    assert children() == []


async def test_the_child_sees_no_secrets(
    process: TemplateProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "secret")
    await process.render(request())
    (child,) = children()
    if sys.platform == "linux":
        assert "SOME_TOKEN" not in child.environ()


PARENT = """
import asyncio, sys
from localserve.prompting.sandbox import TemplateProcess
from localserve.prompting.template import CHATML, RenderRequest
from localserve.chat import Message

async def main():
    process = TemplateProcess()
    await process.render(RenderRequest(CHATML, (Message("user", "Hi"),)))
    (child,) = process._children
    print(child.pid, flush=True)
    await process.render(RenderRequest(sys.argv[1], (Message("user", "Hi"),)))
    await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on this platform")
@pytest.mark.parametrize("template", [CHATML, ENDLESS], ids=["idle", "busy"])
def test_the_child_ends_when_its_parent_is_killed(template: str) -> None:
    command = [sys.executable, "-c", PARENT, template]
    environment = {**os.environ, "PYTHONPATH": str(sandbox._environment()["PYTHONPATH"])}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    psutil.wait_procs([child], timeout=GENEROUS_SECONDS)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_nothing_but_frames_comes_out_of_the_child() -> None:
    command = [sys.executable, "-m", "localserve.prompting.renderer"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=sandbox._environment()
    ) as child:
        output, _ = child.communicate(encode_request(request("{{ 'printed' }}")))
    assert child.returncode == 0
    assert output == READY + encode_answer("printed")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_to_the_whole_group_leaves_the_child_to_the_server(
    process: TemplateProcess, number: signal.Signals
) -> None:
    assert await process.render(request()) == prompt()
    (child,) = children()
    child.send_signal(number)
    assert await process.render(request()) == prompt()
    assert children() == [child]


@pytest.mark.parametrize(("characters", "on_loop"), [(1000, True), (300_000, False)])
async def test_a_large_conversation_is_encoded_off_the_event_loop(
    process: TemplateProcess, monkeypatch: pytest.MonkeyPatch, characters: int, on_loop: bool
) -> None:
    threads: list[threading.Thread] = []

    def encode(request: RenderRequest) -> bytes:
        threads.append(threading.current_thread())
        return encode_request(request)

    monkeypatch.setattr(sandbox, "encode_request", encode)
    text = "x" * characters
    assert await process.render(request(text=text)) == prompt(text)
    assert (threads[0] is threading.current_thread()) is on_loop


def test_it_works_on_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop", reason="uvloop is not installed")

    async def main() -> list[object]:
        async with started(render_seconds=1.0) as process:
            return await asyncio.gather(
                *(process.render(request(t)) for t in (CHATML, ENDLESS, CHATML)),
                return_exceptions=True,
            )

    first, second, third = cast("list[object]", uvloop.run(main()))
    assert first == third == prompt()
    assert isinstance(second, TemplateFailed)
