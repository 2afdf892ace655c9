"""The offer of a model to whoever has none: when it is made, what it says, what the answers do."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from localserve.catalog.locate import find_model
from localserve.catalog.registry import shipped_registry
from localserve.cli import offer
from localserve.cli.offer import CatalogOffer, Question, may_offer
from localserve.config import Settings
from localserve.errors import ModelUnusable
from localserve.planner.fit import rank_catalog
from localserve.planner.machine import imagined
from localserve.planner.plan import Plan, Wanted
from localserve.server.reports import Note

GIB = 1 << 30


class Stream:
    def __init__(self, terminal: bool) -> None:
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture
def on_terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def use(input: object = Stream(True), output: object = Stream(True)) -> None:
        monkeypatch.setattr(sys, "stdin", input)
        monkeypatch.setattr(sys, "stdout", output)

    return use


def best(ram_bytes: int) -> Plan:
    return rank_catalog(shipped_registry(), Wanted(), imagined((), ram_bytes))[0]


def test_it_is_made_only_where_nothing_was_named_or_found_and_somebody_can_answer(
    settings: Settings, on_terminal: Callable[..., None]
) -> None:
    registry = shipped_registry()
    builtin = find_model(None, registry, settings)
    on_terminal()
    assert may_offer(None, builtin, settings)
    assert not may_offer("builtin", builtin, settings)
    assert not may_offer(None, replace(builtin, name="other"), settings)
    assert not may_offer(None, builtin, replace(settings, model="builtin"))
    assert not may_offer(None, builtin, replace(settings, offline=True))
    for input, output in [(None, Stream(True)), (Stream(False), Stream(True))]:
        on_terminal(input, output)
        assert not may_offer(None, builtin, settings)
    on_terminal(Stream(True), Stream(False))
    assert not may_offer(None, builtin, settings)


def test_the_question_has_size_and_verdict() -> None:
    plan = best(16 * GIB)
    text = offer.offer_text(plan)
    assert str(plan.facts.name) in text
    assert plan.quantization in text
    assert f"{plan.facts.size_bytes / 1e9:.1f} GB" in text
    assert f"{plan.tightest.needed_bytes / GIB:.1f} GiB" in text
    assert "of RAM" in text
    assert "[y/N]" in text


@pytest.fixture
def make_offer(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Callable[[str, Any], tuple[list[Any], list[str]]]:
    """Runs an offer that is answered so; what was shown, and what became the default."""

    def run(answer: str, proposed: Any) -> tuple[list[Any], list[str]]:
        plan = best(16 * GIB)
        monkeypatch.setattr(offer, "probe", lambda settings: None)
        monkeypatch.setattr(offer, "best_fitting", lambda *arguments: plan)
        monkeypatch.setattr(offer, "_read_line", lambda check: answer)
        monkeypatch.setattr(offer, "propose", proposed)
        shown: list[Any] = []
        defaults: list[str] = []
        made = CatalogOffer(settings, shipped_registry(), shown.append, defaults.append)
        made.begin()
        assert shown == []
        made.server_is_ready()
        made._thread.join(60)
        made.end()
        return shown, defaults

    return run


@pytest.mark.parametrize("answer", ["", "\n", "n\n", "yesterday\n"])
def test_anything_but_a_yes_downloads_nothing(
    make_offer: Callable[[str, Any], tuple[list[Any], list[str]]], answer: str
) -> None:
    question, note = make_offer(answer, None)[0]
    assert isinstance(question, Question)
    assert "localserve up" in note.text


def test_what_the_hub_refuses_is_told_and_changes_nothing(
    make_offer: Callable[[str, Any], tuple[list[Any], list[str]]],
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise ModelUnusable("The hub does not answer.", hint="Try later.")

    shown, defaults = make_offer("y\n", refuse)
    assert shown[-1] == Note(logging.ERROR, "The hub does not answer. Try later.")
    assert defaults == []
