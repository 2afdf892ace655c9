"""The build of llama.cpp against the hardware: what it can use, and what lies idle."""

from __future__ import annotations

from collections.abc import Iterator

from localserve.doctor.finding import Finding, Level
from localserve.doctor.subject import Subject
from localserve.planner.build import installed_build
from localserve.planner.hardware import Hardware, probe
from localserve.planner.notices import Notice

NAME = "llama.cpp"


def check_build(subject: Subject) -> Iterator[Finding]:
    found = probe(subject.settings, subject.readings)
    broken = found.llama_cpp.problem is not None
    if not broken:
        yield Finding(NAME, "ok", _built(found))
        yield Finding(NAME, "ok", _computes_on(found))
    for notice in found.notices:
        yield _told(notice, broken=broken)


def _built(found: Hardware) -> str:
    build, llama_cpp = installed_build(), found.llama_cpp
    named = build.text if build is not None else f"llama-cpp-python {llama_cpp.version}"
    return f"{named}, built for {', '.join(llama_cpp.backends)}"


def _computes_on(found: Hardware) -> str:
    gpus = [f"{gpu.description} ({gpu.name})" for gpu in found.gpus]
    return f"computes on {', '.join([*gpus, found.processor.name or 'the processor'])}"


def _told(notice: Notice, *, broken: bool) -> Finding:
    level: Level = "ok"
    if notice.level == "warning":
        level = "problem" if broken else "warning"
    commands = tuple(one for one in (notice.command, notice.prebuilt) if one is not None)
    advice = "Compile llama.cpp for it, or take a compiled one:" if len(commands) > 1 else None
    return Finding(NAME, level, notice.message, advice, commands)
