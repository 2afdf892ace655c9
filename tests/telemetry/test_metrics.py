"""Instruments that are bound once, and the quick one among them."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from localserve.telemetry.metrics import BETWEEN_SECONDS, Instruments, Tallies


def samples(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        if sample.name.startswith(name) and not sample.name.endswith("_created")
    }


def test_a_tally_is_what_the_librarys_histogram_would_be() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    tallies = Tallies("gaps", "Gaps.")
    ours.register(tallies)
    histogram = Histogram("gaps", "Gaps.", ["model"], registry=theirs, buckets=BETWEEN_SECONDS)
    for model in ("a", "b"):
        for seconds in (0.0, 0.002, 0.0021, 0.5, 2.5, 2.6, 1e9):
            tallies.of_model(model).observe(seconds)
            histogram.labels(model).observe(seconds)
    assert samples(ours, "gaps") == samples(theirs, "gaps")
    assert samples(ours, "gaps")["gaps_count", "a"] == 7


def test_instruments_are_bound_once_for_each_model() -> None:
    instruments = Instruments()
    one = instruments.of_model("a")
    assert instruments.of_model("a") is one
    assert instruments.of_model("b") is not one
    one.between(0.1)
    instruments.of_model("a").between(0.2)
    found = samples(instruments.registry, "localserve_inter_token")
    assert found["localserve_inter_token_seconds_count", "a"] == 2
    assert found["localserve_inter_token_seconds_count", "b"] == 0


def test_two_servers_in_one_process_share_no_figures() -> None:
    one, other = Instruments(), Instruments()
    one.request_ended("/", 200, None, 0.1)
    assert samples(one.registry, "localserve_requests_total")
    assert not samples(other.registry, "localserve_requests_total")
