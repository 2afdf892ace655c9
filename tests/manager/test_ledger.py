"""Bytes per device: what is held, what there is, what is missing."""

from __future__ import annotations

from localserve.manager.ledger import Ledger


def test_capacity_is_what_is_held_and_what_is_free_besides() -> None:
    ledger = Ledger()
    ledger.hold("a", {"CPU": 30, "GPU0": 5})
    ledger.measure({"CPU": 70, "GPU0": 10})
    assert ledger.capacity == {"CPU": 100, "GPU0": 15}
    assert ledger.missing({"CPU": 70}) == {}
    assert ledger.missing({"CPU": 71, "GPU0": 13}) == {"CPU": 1, "GPU0": 3}


def test_a_limit_bounds_what_is_free() -> None:
    ledger = Ledger({"CPU": 50})
    ledger.hold("a", {"CPU": 30})
    ledger.measure({"CPU": 1000})
    assert ledger.missing({"CPU": 25}) == {"CPU": 5}
    ledger.measure({"CPU": 10})
    assert ledger.missing({"CPU": 25}) == {"CPU": 15}


def test_what_is_released_is_there_again_and_what_is_held_anew_replaces_the_old() -> None:
    ledger = Ledger({"CPU": 100})
    ledger.measure({"CPU": 100})
    ledger.hold("a", {"CPU": 80})
    ledger.hold("a", {"CPU": 60})
    assert ledger.held == {"CPU": 60}
    ledger.release("a")
    ledger.release("a")
    assert ledger.held == {}
    assert ledger.missing({"CPU": 100}) == {}


def test_a_device_that_was_never_measured_has_no_room() -> None:
    assert Ledger().missing({"GPU0": 1}) == {"GPU0": 1}
    assert Ledger().missing({"GPU0": 0}) == {}


def test_ram_bears_what_lies_on_a_gpu_without_memory_of_its_own_once() -> None:
    ledger = Ledger()
    ledger.measure({"CPU": 100, "MTL0": 70}, in_ram={"MTL0"})
    ledger.hold("a", {"CPU": 5, "MTL0": 40})
    assert ledger.held == {"CPU": 5, "MTL0": 40}
    assert ledger.charge(ledger.held) == {"CPU": 45, "MTL0": 40}
    assert ledger.missing({"CPU": 25, "MTL0": 30}) == {}
    assert ledger.missing({"CPU": 26, "MTL0": 30}) == {"CPU": 1}
    assert ledger.missing({"MTL0": 31}) == {"MTL0": 1}
    ledger.measure(
        {"CPU": 55, "MTL0": 30}, in_ram={"MTL0"}
    )  # it is loaded: as much is free as before
    assert ledger.capacity == {"CPU": 100, "MTL0": 70}


def test_a_limit_of_ram_bounds_gpus_without_memory_of_their_own() -> None:
    ledger = Ledger({"CPU": 50})
    ledger.measure({"CPU": 100, "MTL0": 70}, in_ram={"MTL0"})
    assert ledger.missing({"CPU": 5, "MTL0": 60}) == {"CPU": 15}


def test_gpus_with_memory_of_their_own_are_not_charged_to_ram() -> None:
    ledger = Ledger()
    ledger.measure({"CPU": 10, "CUDA0": 70})
    assert ledger.charge({"CPU": 5, "CUDA0": 60}) == {"CPU": 5, "CUDA0": 60}
    assert ledger.missing({"CPU": 5, "CUDA0": 60}) == {}


def test_what_others_hold_now_is_no_reason_why_it_could_never_fit() -> None:
    ledger = Ledger({"CPU": 80})
    ledger.measure({"CPU": 20, "GPU0": 5}, most={"CPU": 100, "GPU0": 10})
    assert ledger.missing({"CPU": 50, "GPU0": 8}) == {"CPU": 30, "GPU0": 3}
    assert ledger.lacking({"CPU": 50, "GPU0": 8}, {}) == {}
    assert ledger.lacking({"CPU": 90, "GPU0": 8}, {"GPU0": 4}) == {"CPU": 10, "GPU0": 2}
