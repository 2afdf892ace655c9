"""The build of llama.cpp, by the names of its files."""

from __future__ import annotations

import pytest

from localserve.planner.build import Build, describe, installed_build

LINUX = ["libllama.so", "libllama.so.0", "libllama.so.0.5.0", "libggml-base.so.0.25.3"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([*LINUX, "libggml-cpu.so"], ("0.5.0", "0.25.3", ("CPU",))),
        (
            [
                "libggml-cpu-haswell.so",
                "libggml-cpu-x64.so",
                "libggml-cuda.so",
                "libggml-vulkan.so",
            ],
            (None, None, ("CUDA", "Vulkan", "CPU")),
        ),
        (
            ["libllama.0.5.0.dylib", "libggml-base.0.25.3.dylib", "libggml-metal.dylib"],
            ("0.5.0", "0.25.3", ("Metal",)),
        ),
        (
            ["llama.dll", "ggml-base.dll", "ggml-cuda.dll", "ggml-cpu.dll"],
            (None, None, ("CUDA", "CPU")),
        ),
        (["libggml-hip.so", "notes.txt"], (None, None, ("ROCm",))),
        ([], (None, None, ())),
    ],
)
def test_names_of_libraries_tell_versions_and_devices(
    names: list[str], expected: tuple[str | None, str | None, tuple[str, ...]]
) -> None:
    found = describe("1.2", names)
    assert (found.llama_cpp, found.ggml, found.backends) == expected


def test_it_is_told_in_one_line() -> None:
    assert Build("1.2", "0.5", "0.9").text == "llama.cpp 0.5 (ggml 0.9) of llama-cpp-python 1.2"
    assert Build("1.2", None, None).text == "llama-cpp-python 1.2"


def test_the_build_of_this_environment_is_found() -> None:
    found = installed_build()
    assert found is not None
    assert found.package[0].isdecimal()
    assert "CPU" in found.backends
