"""What templates show that their models can do."""

from __future__ import annotations

import pytest

from localserve.prompting.abilities import abilities
from localserve.prompting.template import CHATML


@pytest.mark.parametrize(
    ("template", "can"),
    [
        (None, ()),
        ("", ()),
        (CHATML, ()),
        ("{% for message in messages %}{{ message.content }}{% endfor %}", ()),
        ("{% if tools %}{{ tools | tojson }}{% endif %}", ("tools",)),
        ("{% if functions is defined %}{{ functions }}{% endif %}", ("tools",)),
        ("{% for call in message.tool_calls %}{% endfor %}", ("tools",)),
        ("{{ '<think>' + message.reasoning + '</think>' }}", ("thinking",)),
        ("{% if tools %}{% endif %}[THINK]{{ thought }}[/THINK]", ("tools", "thinking")),
        ("{% if enable_thinking %}{{ message.reasoning_content }}{% endif %}", ("thinking",)),
        ("{{ reasoning_effort or 'high' }}", ("thinking",)),
        ("<|channel|>analysis<|message|>", ("thinking",)),
        ("{{ 'tooltips and thinking' }}", ()),
    ],
)
def test_abilities(template: str | None, can: tuple[str, ...]) -> None:
    assert abilities(template) == can
