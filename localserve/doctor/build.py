"""The build of llama.cpp against the hardware: what it can use, and what lies idle."""

from __future__ import annotations

from collections.abc import Iterator

from localserve.doctor.finding import Finding
from localserve.doctor.subject import Subject
from localserve.planner.build import installed_build
from localserve.planner.hardware import Hardware, probe

NAME = "llama.cpp"


def check_build(subject: Subject) -> Iterator[Finding]:
    found = probe(subject.settings, subject.readings)
    broken = found.llama_cpp.problem is not None
    if not broken:
        yield Finding(NAME, "ok", _built(found))
        yield Finding(NAME, "ok", _computes_on(found))
    for notice in found.notices:
        level = "problem" if broken else "warning" if notice.level == "warning" else "ok"
        yield Finding(NAME, level, notice.message, notice.command)


def _built(found: Hardware) -> str:
    build, llama_cpp = installed_build(), found.llama_cpp
    named = build.text if build is not None else f"llama-cpp-python {llama_cpp.version}"
    return f"{named}, built for {', '.join(llama_cpp.backends)}"


def _computes_on(found: Hardware) -> str:
    gpus = [f"{gpu.description} ({gpu.name})" for gpu in found.gpus]
    return f"models lie on {', '.join([*gpus, found.processor.name or 'the processor'])}"
