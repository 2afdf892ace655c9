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


def test_what_others_hold_now_is_no_reason_why_it_could_never_fit() -> None:
    ledger = Ledger({"CPU": 80})
    ledger.measure({"CPU": 20, "GPU0": 5}, {"CPU": 100, "GPU0": 10})
    assert ledger.missing({"CPU": 50, "GPU0": 8}) == {"CPU": 30, "GPU0": 3}
    assert ledger.lacking({"CPU": 50, "GPU0": 8}, {}) == {}
    assert ledger.lacking({"CPU": 90, "GPU0": 8}, {"GPU0": 4}) == {"CPU": 10, "GPU0": 2}
