"""Formats of templates that refuse much, show little or are hostile."""

from __future__ import annotations

import pytest

from localserve.prompting.output.derive import LONGEST_TURN, derive_format
from localserve.prompting.output.families import HERMES
from localserve.prompting.output.format import LiteralCalls, OutputFormat, Span
from localserve.prompting.output.probes import NAMES, USER, probes
from localserve.prompting.output.source import MOST_ENDLESS, Reading, read_format
from localserve.prompting.sandbox import TemplateProcess
from tests.prompting.output.small_templates import TEMPLATES, format_of


def test_a_template_that_shows_nothing_gets_the_commonest_format() -> None:
    assert derive_format("{{ messages }}", {}) == OutputFormat(calls=HERMES)


def test_calls_that_are_only_mentioned_are_known_by_their_marker() -> None:
    format = derive_format("Write <|tool_call_start|>[f(x=1)]<|tool_call_end|>.", {})
    assert format.calls is not None
    assert isinstance(format.calls.form, LiteralCalls)


def test_reasoning_that_a_template_takes_away_is_known_by_its_marks() -> None:
    source = "{{ message.content.split('[/THINK]')[-1] }}"
    assert derive_format(source, {}).reasoning == Span("[THINK]", "[/THINK]")


@pytest.mark.parametrize(
    "hostile",
    [
        "<" * 300_000,
        "[" * 300_000,
        "{" * 300_000,
        '{"a":' * 60_000,
        "<think" * 50_000,
        " " * 300_000,
    ],
    ids=["tags", "lists", "objects", "members", "marks", "space"],
)
@pytest.mark.parametrize("length", [LONGEST_TURN - 100, 300_000])
def test_hostile_renderings_are_looked_at_in_bounds(hostile: str, length: int) -> None:
    text = hostile[:length]
    rendered = dict.fromkeys(probes(""), f"{USER}{text}{NAMES[0]}{text}")
    format = derive_format(hostile, rendered | {"asked": USER, "asked_tooled": USER})
    assert all(len(marker) <= 256 for marker in format.markers)


async def test_a_format_is_derived_where_templates_are_rendered() -> None:
    templates = TemplateProcess()
    try:
        found = await read_format(templates, TEMPLATES["parameters"])
    finally:
        await templates.close()
    assert found == Reading(format_of("parameters"), in_time=True)


async def test_a_template_without_an_end_is_not_tried_with_all_probes() -> None:
    class Endless(TemplateProcess):
        tried = 0

        async def render(self, request: object) -> str:
            Endless.tried += 1
            return await super().render(request)  # type: ignore[arg-type]

    templates = Endless(render_seconds=0.05)
    try:
        endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
        found = await read_format(templates, endless)
    finally:
        await templates.close()
    assert Endless.tried == MOST_ENDLESS
    assert found == Reading(OutputFormat(calls=HERMES), in_time=False)
