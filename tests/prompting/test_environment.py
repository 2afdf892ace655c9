"""What templates find around them: tags, filters, functions, and the walls of the sandbox."""

from __future__ import annotations

import pytest
from jinja2 import TemplateError
from jinja2.exceptions import SecurityError

from localserve.prompting.environment import TemplateRaised, template_environment


def render(source: str, **variables: object) -> str:
    return template_environment().from_string(source).render(**variables)


def test_block_lines_leave_no_trace() -> None:
    assert render("a\n  {% if true %}\nb\n  {% endif %}\nc") == "a\nb\nc"


def test_loops_can_be_left_and_continued() -> None:
    source = "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}"
    source += "{% if i == 4 %}{% break %}{% endif %}{{ i }}{% endfor %}"
    assert render(source) == "023"


def test_the_body_of_a_generation_block_is_passed_on() -> None:
    assert render("<{% generation %}{{ x }}!{% endgeneration %}>", x="hi") == "<hi!>"


def test_json_is_plain_and_in_order() -> None:
    value = {"b": "<é'&>", "a": [1, True, None]}
    assert render("{{ v | tojson }}", v=value) == """{"b": "<é'&>", "a": [1, true, null]}"""


def test_json_takes_the_arguments_that_templates_give() -> None:
    source = "{{ v | tojson(indent=1, separators=(',', ':'), sort_keys=true) }}"
    assert render(source, v={"b": 1, "a": 2}) == '{\n "a":2,\n "b":1\n}'
    assert render("{{ v | tojson(ensure_ascii=true) }}", v="é") == '"\\u00e9"'


def test_json_takes_generators_as_lists() -> None:
    assert render("{{ v | map('upper') | tojson }}", v=["a", "b"]) == '["A", "B"]'


def test_a_template_may_refuse_in_its_own_words() -> None:
    with pytest.raises(TemplateRaised, match="no thanks"):
        render("{{ raise_exception('no thanks') }}")
    assert issubclass(TemplateRaised, TemplateError)


def test_lists_serve_as_queues_and_are_otherwise_immutable() -> None:
    source = "{% set q = [1] %}{% set _ = q.append(2) %}{{ q.pop(0) }}{{ q }}"
    assert render(source) == "1[2]"
    with pytest.raises(SecurityError):
        render("{{ v.clear() }}", v=[1])
    with pytest.raises(SecurityError):
        render("{{ v.update(a=1) }}", v={})


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ raise_exception.__globals__ }}",
        "{{ (1).__class__.__subclasses__() }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ '{0.__class__.__mro__}'.format(1) }}",
        "{{ ''|attr('__class__')|attr('__mro__') }}",
        "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    ],
)
def test_the_insides_of_python_are_out_of_reach(source: str) -> None:
    try:
        shown = render(source)
    except TemplateError:
        return
    assert shown == ""
