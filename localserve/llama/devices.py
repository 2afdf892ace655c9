"""The devices that this build of llama.cpp can compute on, as ggml describes them.

Run as `python -m localserve.llama.devices` it prints them as JSON:
`{"version", "backends", "features", "devices": [{"name", "description", "backend", "kind",
"free_bytes", "total_bytes", "device_id"}]}`. Asking makes a context on each GPU, which takes some
hundred MB of its memory for as long as the process lives.
"""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import llama_cpp

from localserve.llama import child, library
from localserve.llama.library import ggml

KINDS = {0: "cpu", 1: "gpu", 2: "igpu", 3: "accel"}


@dataclass(frozen=True, slots=True)
class Device:
    """A device that this build of llama.cpp can compute on.

    `kind` is cpu, gpu, igpu (a GPU that uses the host's memory), accel (helps the CPU, such as
    BLAS) or other. `device_id` is the PCI bus id ("0000:c1:00.0") where the backend tells it.
    The CPU's `free_bytes` is its `total_bytes` on POSIX. Source: ggml-backend.h.
    """

    name: str
    description: str
    backend: str
    kind: str
    free_bytes: int
    total_bytes: int
    device_id: str | None


class _Capabilities(ctypes.Structure):
    _fields_ = (
        ("asynchronous", ctypes.c_bool),
        ("host_buffer", ctypes.c_bool),
        ("buffer_from_host_ptr", ctypes.c_bool),
        ("events", ctypes.c_bool),
        ("mmap_support", ctypes.c_bool),
    )


class _Properties(ctypes.Structure):
    """`ggml_backend_dev_props`."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
        ("memory_free", ctypes.c_size_t),
        ("memory_total", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("device_id", ctypes.c_char_p),
        ("capabilities", _Capabilities),
        # Room for what later versions append: they write through our pointer.
        ("reserved", ctypes.c_byte * 64),
    )


class _Feature(ctypes.Structure):
    """`ggml_backend_feature`; a list of them ends with one that has no name."""

    _fields_ = (("name", ctypes.c_char_p), ("value", ctypes.c_char_p))


def devices() -> list[Device]:
    """All devices of this build, in llama.cpp's order."""
    return [_describe(handle) for handle in handles()]


def handles() -> list[int]:
    """ggml's pointers to all devices, in llama.cpp's order."""
    library.start()
    count = ggml("ggml_backend_dev_count", ctypes.c_size_t)()
    get = ggml("ggml_backend_dev_get", ctypes.c_void_p, [ctypes.c_size_t])
    return [get(index) for index in range(count)]


def backends() -> list[str]:
    """The kinds of devices that this build knows, such as CPU, CUDA and Vulkan."""
    library.start()
    count = ggml("ggml_backend_reg_count", ctypes.c_size_t)()
    get = ggml("ggml_backend_reg_get", ctypes.c_void_p, [ctypes.c_size_t])
    name = ggml("ggml_backend_reg_name", ctypes.c_char_p, [ctypes.c_void_p])
    return [_text(name(get(index))) for index in range(count)]


def processor_features() -> list[str]:
    """What this build uses of the processor, in ggml's spelling: AVX2, MATMUL_INT8 ..."""
    library.start()
    by_name = ggml("ggml_backend_reg_by_name", ctypes.c_void_p, [ctypes.c_char_p])
    address = proc_address(by_name(b"CPU"), "ggml_backend_get_features")
    if not address:
        return []
    prototype = ctypes.CFUNCTYPE(ctypes.POINTER(_Feature), ctypes.c_void_p)
    found = []
    features = prototype(address)(by_name(b"CPU"))
    for index in range(1000):
        if not features[index].name:
            break
        if features[index].value != b"0":
            found.append(_text(features[index].name))
    return found


def proc_address(registry: int, name: str) -> int:
    """The address of a backend's own function; 0 where it has none of that name."""
    get = ggml(
        "ggml_backend_reg_get_proc_address", ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_char_p]
    )
    return get(registry, name.encode()) or 0


def registry_of(device: int) -> int:
    """ggml's pointer to the backend that a device belongs to."""
    return ggml("ggml_backend_dev_backend_reg", ctypes.c_void_p, [ctypes.c_void_p])(device)


def device_name(handle: int) -> str:
    """llama.cpp's name of a device."""
    return _text(ggml("ggml_backend_dev_name", ctypes.c_char_p, [ctypes.c_void_p])(handle))


def _describe(handle: int) -> Device:
    properties = _Properties()
    get = ggml("ggml_backend_dev_get_props", None, [ctypes.c_void_p, ctypes.POINTER(_Properties)])
    get(handle, ctypes.byref(properties))
    registry_name = ggml("ggml_backend_reg_name", ctypes.c_char_p, [ctypes.c_void_p])
    return Device(
        name=_text(properties.name),
        description=_text(properties.description),
        backend=_text(registry_name(registry_of(handle))),
        kind=KINDS.get(properties.type, "other"),
        free_bytes=properties.memory_free,
        total_bytes=properties.memory_total,
        device_id=_text(properties.device_id) or None,
    )


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace").strip()


def _document(arguments: Sequence[str]) -> object:
    return {
        "version": llama_cpp.__version__,
        "backends": backends(),
        "features": processor_features(),
        "devices": [dataclasses.asdict(device) for device in devices()],
    }


if __name__ == "__main__":
    child.run(_document)
