"""llama.cpp's list joined with the drivers', and what llama.cpp uses by itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from localserve.planner.devices import Device, join_devices, parse_listed, refresh_device
from localserve.planner.graphics import GraphicsCard
from localserve.planner.memory import Memory
from localserve.planner.nvml import GpuProcess, Nvml, from_document
from tests.planner.recorded import CPU, GIB, NO_NVML, listed_gpu, nvml_gpu

MEMORY = Memory(64 * GIB, 32 * GIB, 12 * GIB, 0, 0, None)
APPLE = GraphicsCard("Apple", "Apple GPU", None, None, True)


def driver(*gpus: dict[str, Any]) -> Nvml:
    return from_document({**NO_NVML, "gpus": list(gpus)})


def join(
    *listed: dict[str, Any],
    nvml: Nvml | None = None,
    cards: tuple[GraphicsCard, ...] = (),
    environment: Mapping[str, str] | None = None,
) -> dict[str, Device]:
    found = join_devices(
        parse_listed({"devices": listed}), nvml or driver(), cards, MEMORY, environment or {}
    )
    return {device.name: device for device in found}


def used(devices: dict[str, Device]) -> list[str]:
    return [name for name, device in devices.items() if device.used_by_default]


def test_the_cpu_has_what_the_system_says_not_what_llama_cpp_says() -> None:
    cpu = join(CPU)["CPU"]
    assert (cpu.free_bytes, cpu.total_bytes) == (12 * GIB, 32 * GIB)
    assert not cpu.used_by_default


def test_a_gpu_keeps_llama_cpps_free_bytes_and_learns_the_drivers() -> None:
    blender = {"pid": 7, "name": "blender", "used_bytes": 3 * GIB}
    gpu = join(listed_gpu(), nvml=driver(nvml_gpu(processes=[blender])))["CUDA0"]
    assert (gpu.free_bytes, gpu.driver_free_bytes) == (20 * GIB, 21 * GIB)
    assert gpu.processes == (GpuProcess(7, "blender", 3 * GIB),)
    assert not gpu.unified


def test_gpus_are_matched_by_the_bus_not_by_number() -> None:
    nvml = driver(
        nvml_gpu(bus_id="0000:02:00.0", free_bytes=2), nvml_gpu(bus_id="0000:01:00.0", free_bytes=1)
    )
    first, second = listed_gpu("CUDA0"), listed_gpu("CUDA1", bus_id="0000:02:00.0")
    found = join(first, second, nvml=nvml)
    assert [device.driver_free_bytes for device in found.values()] == [1, 2]


def test_a_device_without_a_bus_id_matches_nothing() -> None:
    gpu = join(listed_gpu(bus_id=None), nvml=driver(nvml_gpu()))["CUDA0"]
    assert gpu.driver_free_bytes is None


def test_virtual_devices_are_found_by_their_card() -> None:
    gpu = join(listed_gpu(bus_id="0000:01:00.0-v1"), nvml=driver(nvml_gpu(free_bytes=5)))["CUDA0"]
    assert gpu.driver_free_bytes == 5


def mig(*free: int) -> Nvml:
    parts = [
        nvml_gpu(uuid=f"MIG-{number}", instance_of="GPU-1", free_bytes=one)
        for number, one in enumerate(free)
    ]
    return driver(nvml_gpu(free_bytes=70), *parts)


def test_of_mig_instances_the_visible_one_counts() -> None:
    environment = {"CUDA_VISIBLE_DEVICES": "MIG-1"}
    assert (
        join(listed_gpu(), nvml=mig(8, 9), environment=environment)["CUDA0"].driver_free_bytes == 9
    )
    assert join(listed_gpu(), nvml=mig(8))["CUDA0"].driver_free_bytes == 8
    assert join(listed_gpu(), nvml=mig(8, 9))["CUDA0"].driver_free_bytes is None


def test_amds_driver_tells_through_files() -> None:
    card = GraphicsCard("AMD", "RX 7900", "0000:03:00.0", "amdgpu", False, 24 * GIB, 23 * GIB)
    gpu = join(listed_gpu("ROCm0", backend="ROCm", bus_id="0000:03:00.0"), cards=(card,))["ROCm0"]
    assert gpu.driver_free_bytes == 23 * GIB


def test_integrated_graphics_have_no_more_than_the_host_has_available() -> None:
    listed = listed_gpu("Vulkan0", backend="Vulkan", kind="igpu", free_bytes=30 * GIB)
    gpu = join(listed, nvml=driver(nvml_gpu()))["Vulkan0"]
    assert gpu.unified
    assert gpu.free_bytes == 12 * GIB
    assert gpu.driver_free_bytes is None


def test_metal_is_unified_on_apple_silicon_only() -> None:
    listed = listed_gpu(
        "MTL0", backend="MTL", bus_id=None, total_bytes=10 * GIB, free_bytes=9 * GIB
    )
    apple = join(listed, cards=(APPLE,))["MTL0"]
    assert apple.unified
    assert (apple.free_bytes, apple.total_bytes) == (9 * GIB, 10 * GIB)
    assert not join(listed)["MTL0"].unified


def test_cudas_unified_memory_is_the_hosts() -> None:
    environment = {"GGML_CUDA_ENABLE_UNIFIED_MEMORY": "1"}
    listed = listed_gpu(free_bytes=48 * GIB, total_bytes=24 * GIB)
    gpu = join(listed, nvml=driver(nvml_gpu()), environment=environment)["CUDA0"]
    assert gpu.unified
    assert gpu.free_bytes == 12 * GIB


def test_by_default_llama_cpp_uses_discrete_gpus_before_integrated_ones() -> None:
    integrated = listed_gpu("Vulkan0", backend="Vulkan", kind="igpu", bus_id="0000:00:02.0")
    assert used(join(integrated, CPU)) == ["Vulkan0"]
    assert used(join(integrated, listed_gpu(), CPU)) == ["CUDA0"]


def test_by_default_a_card_that_two_backends_see_is_used_once() -> None:
    twice = listed_gpu("Vulkan0", backend="Vulkan")
    other = listed_gpu("Vulkan1", backend="Vulkan", bus_id="0000:04:00.0")
    assert used(join(listed_gpu(), twice, other, CPU)) == ["CUDA0", "Vulkan1"]


def test_by_default_integrated_graphics_of_the_first_backend_are_used() -> None:
    integrated = [
        listed_gpu("Vulkan0", backend="Vulkan", kind="igpu"),
        listed_gpu("SYCL0", backend="SYCL", kind="igpu"),
        listed_gpu("Vulkan1", backend="Vulkan", kind="igpu"),
    ]
    assert used(join(*integrated)) == ["Vulkan0", "Vulkan1"]


def test_by_default_remote_devices_are_used_beside_the_own() -> None:
    remote = listed_gpu("RPC0", backend="RPC", bus_id=None)
    integrated = listed_gpu("Vulkan0", backend="Vulkan", kind="igpu")
    accelerator = {**CPU, "name": "BLAS", "kind": "accel"}
    assert used(join(remote, integrated, accelerator, CPU)) == ["RPC0", "Vulkan0"]


def again(
    device: Device,
    listed_free_bytes: int | None = None,
    nvml: Nvml | None = None,
    available_bytes: int = 12 * GIB,
) -> Device:
    memory = dataclasses.replace(MEMORY, available_bytes=available_bytes)
    return refresh_device(device, listed_free_bytes, nvml or driver(), (), memory, {})


def test_refreshing_moves_a_gpu_by_what_its_driver_says() -> None:
    gpu = join(listed_gpu(), nvml=driver(nvml_gpu(free_bytes=21 * GIB)))["CUDA0"]
    assert again(gpu, nvml=driver(nvml_gpu(free_bytes=15 * GIB))).free_bytes == 14 * GIB
    assert again(gpu, nvml=driver(nvml_gpu(free_bytes=GIB // 2))).free_bytes == 0
    assert again(gpu, nvml=driver(nvml_gpu(free_bytes=99 * GIB))).free_bytes == 24 * GIB


def test_refreshing_a_gpu_that_is_lost_leaves_nothing_free() -> None:
    gpu = join(listed_gpu(), nvml=driver(nvml_gpu()))["CUDA0"]
    assert again(gpu, nvml=driver(nvml_gpu(free_bytes=None))).free_bytes == 0


def test_refreshing_a_gpu_whose_driver_is_silent_takes_llama_cpps_word() -> None:
    gpu = join(listed_gpu())["CUDA0"]
    assert again(gpu, listed_free_bytes=3 * GIB).free_bytes == 3 * GIB
    assert again(gpu).free_bytes == 20 * GIB


def test_refreshing_the_host_and_what_shares_its_memory() -> None:
    listed = listed_gpu("Vulkan0", backend="Vulkan", kind="igpu", total_bytes=40 * GIB)
    found = join(CPU, listed)
    assert again(found["CPU"], available_bytes=30 * GIB).free_bytes == 30 * GIB
    assert again(found["Vulkan0"], available_bytes=30 * GIB).free_bytes == 30 * GIB
    assert again(found["Vulkan0"], available_bytes=50 * GIB).free_bytes == 40 * GIB
