"""A server as the documentation shows it: two models on a GPU of 12 GiB, some requests, a talk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from localserve.backends.base import Backend, EngineStatus
from localserve.backends.placement import Placed
from localserve.catalog.spec import LocalFile, ModelSpec
from localserve.chat import Message, ToolCall
from localserve.manager import ModelManager, Progress
from localserve.manager.need import Need
from localserve.planner.hardware import Hardware
from localserve.planner.plan import Wanted
from localserve.planner.runtime import Runtime
from localserve.planner.usage import RAM, DeviceUsage, MemoryUsage
from localserve.testing import FakeBackend, FakeOffer, Piece, Thought, fake_spec
from tests.browser.rig import TwoPlaces, hardware_of
from tests.planner.real_shapes import SHAPES, write_header
from tests.planner.recorded import GIB

LARGE, SMALL = "qwen3-8b", "qwen2.5-coder-1.5b"
MIB = 1 << 20

TOOLS = """[{"type": "function", "function": {"name": "get_weather",
  "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}}]"""

CODE = """Read it **line by line**, so that a large file never lies in memory as a whole:

```python
def count_words(path):
    with open(path, encoding="utf-8") as lines:
        return sum(len(line.split()) for line in lines)
```

- `split()` without arguments ignores runs of spaces
- it takes about 4 s for a file of 1 GB
"""


class DemoBackend(FakeBackend):
    """Says that it is quick."""

    def status(self) -> EngineStatus:
        rate = 46.8 * self.running
        cells = self.facts.context_tokens
        return EngineStatus(True, self.running, 0, cells * self.running // 5, cells, 0.0, rate)


def talk(messages: Sequence[Message]) -> list[Piece]:
    """What is said next."""
    last = messages[-1]
    if last.role == "tool":
        return [f"In Lisbon it is {last.content} now: no coat needed."]
    if "weather" in (last.content or ""):
        return [ToolCall("call_1", "get_weather", '{"city": "Lisbon"}')]
    if "long" in (last.content or ""):
        return ["word "] * 4000
    words = CODE.split(" ")
    return [Thought("They want words of a file."), *(f"{word} " for word in words[:-1]), words[-1]]


def usage(weights: int, cache: int, compute: int) -> MemoryUsage:
    """MiB on the GPU, and a little in RAM."""
    sizes = (size * MIB for size in (weights, cache, compute))
    return MemoryUsage((DeviceUsage("CUDA0", *sizes), DeviceUsage(RAM, 330 * MIB, 0, 24 * MIB)), 0)


PREDICTED = {LARGE: usage(4455, 2304, 118), SMALL: usage(940, 448, 298)}
MEASURED = {LARGE: usage(4455, 2304, 120), SMALL: usage(940, 448, 302)}


def demo_hardware(folder: Path) -> Hardware:
    """With both models on it, and a little in use by others."""
    made = hardware_of(folder)
    held = sum(one.of("CUDA0").total_bytes for one in MEASURED.values())
    free = made.gpus[0].total_bytes - held - 700 * MIB
    devices = (made.devices[0], replace(made.gpus[0], free_bytes=free))
    return replace(made, devices=devices)


def demo_manager(folder: Path) -> ModelManager:
    """The large one is loaded; a request loads the small one."""
    path = write_header(folder / f"{LARGE}-Q4_K_M.gguf", SHAPES[LARGE], "Q4_K_M", words=False)
    sizes: Mapping[str, int] = {"Q8_0": 8_710_000_000, "Q6_K": 6_730_000_000, "Q4_K_M": 1}
    large = replace(ModelSpec(LARGE, LocalFile(path)), quantizations=sizes)
    specs = [large, fake_spec(SMALL)]

    async def load(spec: ModelSpec, need: Need, progress: Progress) -> Backend:
        delay = 0.01 if spec.name == LARGE else 0.0
        backend = DemoBackend(
            talk, name=spec.name, context_tokens=16_384, token_delay_seconds=delay
        )
        backend.memory = MEASURED[spec.name]
        return backend

    async def estimate(spec: ModelSpec, wanted: Wanted) -> Need:
        return Need(Placed(Runtime(16_384, 8), PREDICTED[spec.name], "CUDA", 8))

    room = TwoPlaces(11 * GIB)
    return ModelManager(large, load, offer=FakeOffer(specs), estimate=estimate, room=room)
