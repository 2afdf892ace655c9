"""The graphics cards that are in this machine, whether or not llama.cpp can use them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from localserve.planner.nvml import Nvml
from localserve.planner.readings import Readings

VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
"""PCI vendors whose cards llama.cpp has code for. Others are virtual or management displays."""

PCI_DEVICES = "/sys/bus/pci/devices"

DISPLAY_CLASS = "0x03"
ACCELERATOR_CLASS = "0x12"
"""PCI classes: cards without a display, such as AMD's Instinct, are 'processing accelerators'."""

INTEL_INTEGRATED = "00:02.0"
"""Where Intel's integrated graphics always are on the PCI bus."""

AMD_INTEGRATED_BYTES = 4 << 30
"""AMD's integrated graphics set less than this aside; a card that has so little is as weak."""

PASSED_ON = ("vfio-pci", "pci-stub", "xen-pciback")
"""Drivers that only hold a card for a virtual machine."""

WINDOWS_NAMES = "Get-CimInstance Win32_VideoController | ForEach-Object Name"


@dataclass(frozen=True, slots=True)
class GraphicsCard:
    """One card. `driver` is the kernel module that drives it, None if there is none or the system
    does not tell. Memory where the driver tells it, for all programs together."""

    vendor: str
    name: str
    pci_bus_id: str | None
    driver: str | None
    integrated: bool
    total_bytes: int | None = None
    free_bytes: int | None = None


def graphics_cards(readings: Readings, nvml: Nvml) -> list[GraphicsCard]:
    """All cards that this system tells of, by PCI, by NVIDIA's driver or by the system's tools."""
    cards = _on_the_bus(readings, nvml)
    known = {card.pci_bus_id for card in cards}
    for gpu in nvml.gpus:
        if gpu.instance_of is None and gpu.pci_bus_id not in known:
            cards.append(GraphicsCard("NVIDIA", gpu.name, gpu.pci_bus_id, "nvidia", False))
    if readings.system == "Darwin" and readings.architecture == "arm64":
        cards.append(GraphicsCard("Apple", "Apple GPU", None, None, True))
    if readings.system == "Windows":
        cards += _on_windows(readings, bool(nvml.gpus))
    return cards


def refresh_card(readings: Readings, card: GraphicsCard) -> GraphicsCard:
    """The card with what is free on it now."""
    if card.pci_bus_id is None:
        return card
    total, free = _memory(readings, f"{PCI_DEVICES}/{card.pci_bus_id}")
    return replace(card, total_bytes=total, free_bytes=free)


def _on_the_bus(readings: Readings, nvml: Nvml) -> list[GraphicsCard]:
    found = []
    for bus_id in readings.names(PCI_DEVICES):
        folder = f"{PCI_DEVICES}/{bus_id}"
        vendor = VENDORS.get(readings.text(f"{folder}/vendor") or "")
        kind = (readings.text(f"{folder}/class") or "")[:4]
        driver = readings.link_name(f"{folder}/driver")
        if vendor is None or kind not in (DISPLAY_CLASS, ACCELERATOR_CLASS) or driver in PASSED_ON:
            continue
        total, free = _memory(readings, folder)
        integrated = (
            bus_id.endswith(INTEL_INTEGRATED)
            if vendor == "Intel"
            else vendor == "AMD" and total is not None and total <= AMD_INTEGRATED_BYTES
        )
        name = _name(readings, folder, vendor, bus_id, nvml)
        found.append(GraphicsCard(vendor, name, bus_id.lower(), driver, integrated, total, free))
    return found


def _memory(readings: Readings, folder: str) -> tuple[int | None, int | None]:
    """Total and free bytes, which AMD's driver tells by files."""
    total = _number(readings.text(f"{folder}/mem_info_vram_total"))
    used = _number(readings.text(f"{folder}/mem_info_vram_used"))
    return total, (total - used if total is not None and used is not None else None)


def _name(readings: Readings, folder: str, vendor: str, bus_id: str, nvml: Nvml) -> str:
    for gpu in nvml.gpus:
        if gpu.pci_bus_id == bus_id.lower():
            return gpu.name
    if name := readings.text(f"{folder}/product_name"):
        return name
    device = (readings.text(f"{folder}/device") or "").removeprefix("0x")
    return f"{vendor} graphics ({device})" if device else f"{vendor} graphics"


def _on_windows(readings: Readings, nvidia_known: bool) -> list[GraphicsCard]:
    """By name only. NVIDIA's driver has told of its own already, if it works."""
    found = []
    listed = readings.command("powershell", "-NoProfile", "-Command", WINDOWS_NAMES)
    for name in (listed or "").splitlines():
        vendor = next((one for one in VENDORS.values() if one.lower() in name.lower()), None)
        if vendor is None or (vendor == "NVIDIA" and nvidia_known):
            continue
        integrated = vendor == "Intel" and "arc" not in name.lower()
        found.append(GraphicsCard(vendor, name.strip(), None, None, integrated))
    return found


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None
