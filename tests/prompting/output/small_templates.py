"""Chat templates of each family in a few lines, and the formats derived from them."""

from __future__ import annotations

from functools import cache

from localserve.errors import TemplateFailed
from localserve.prompting.output.derive import derive_format
from localserve.prompting.output.format import OutputFormat
from localserve.prompting.output.probes import probes
from localserve.prompting.template import ChatTemplate

_CHATML = """\
{%- if tools %}{{ '[tools]' + (tools | tojson) + '[/tools]\\n' }}{% endif %}
{%- for m in messages %}
{{- '<|im_start|>' + m.role + '\\n' }}
{%- if m.role == 'assistant' and m.reasoning_content %}
{{- '<think>\\n' + m.reasoning_content + '\\n</think>\\n\\n' }}
{%- endif %}
{{- m.content }}
{%- if m.tool_calls %}CALLS{% endif %}
{{- '<|im_end|>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}
"""

_OBJECT = (
    '{"name": "\' + c.function.name + \'", "arguments": \' + (c.function.arguments | tojson) + \'}'
)


def _chatml(calls: str) -> str:
    return _CHATML.replace("CALLS", calls)


def _each(body: str, between: str = "") -> str:
    separator = f"{{% if not loop.last %}}{between}{{% endif %}}" if between else ""
    return f"{{%- for c in m.tool_calls %}}{{{{- {body} }}}}{separator}{{%- endfor %}}"


TEMPLATES = {
    "objects": _chatml(_each(f"'<tool_call>\\n{_OBJECT}\\n</tool_call>\\n'")),
    "list": _chatml("<TOOLS>[" + _each(f"'{_OBJECT}'", ", ") + "]</TOOLS>"),
    "id_behind": _chatml(
        "[CALLS][" + _each(f"'{_OBJECT[:-1]}, \"id\": \"' + c.id + '\"}}'", ", ") + "]"
    ),
    "named_by_key": _chatml(
        "<|tools|>["
        + _each("'{\"' + c.function.name + '\": ' + (c.function.arguments | tojson) + '}'", ", ")
        + "]<|/tools|>"
    ),
    "bare": _chatml(_each(f"'{_OBJECT}'")),
    "named": _chatml(
        _each("'[CALL]' + c.function.name + '[ARGS]' + c.function.arguments | tojson")
    ),
    "named_with_id": _chatml(
        _each(
            "'[CALL]' + c.function.name + '[ID]' + c.id"
            " + '[ARGS]' + (c.function.arguments | tojson)"
        )
    ),
    "name_in_id": _chatml(
        "<|calls|>"
        + _each("'<|call|>' + c.id + '<|args|>' + (c.function.arguments | tojson) + '<|/call|>'")
        + "<|/calls|>"
    ),
    "fenced": _chatml(
        "<|calls|>"
        + _each(
            "'<|call|>function<|sep|>' + c.function.name + '\\n```json\\n'"
            " + (c.function.arguments | tojson) + '\\n```<|/call|>\\n'"
        )
        + "<|/calls|>"
    ),
    "parameters": _chatml(
        "{%- for c in m.tool_calls %}{{- '<tool_call>\\n<function=' + c.function.name + '>\\n' }}"
        "{%- for k, v in c.function.arguments | items %}{{- '<parameter=' + k + '>\\n' }}"
        "{{- v if v is string else v | tojson }}{{- '\\n</parameter>\\n' }}{%- endfor %}"
        "{{- '</function>\\n</tool_call>\\n' }}{%- endfor %}"
    ),
    "keys_and_values": _chatml(
        "{%- for c in m.tool_calls %}{{- '<tool_call>' + c.function.name + '\\n' }}"
        "{%- for k, v in c.function.arguments | items %}"
        "{{- '<arg_key>' + k + '</arg_key>\\n<arg_value>' }}"
        "{{- v if v is string else v | tojson }}{{- '</arg_value>\\n' }}{%- endfor %}"
        "{{- '</tool_call>' }}{%- endfor %}"
    ),
    "typed_tags": _chatml(
        "{{- '<|X|calls>\\n' }}"
        "{%- for c in m.tool_calls %}{{- '<|X|invoke name=\"' + c.function.name + '\">\\n' }}"
        "{%- for k, v in c.function.arguments | items %}"
        "{{- '<|X|parameter name=\"' + k + '\" string=\"' }}"
        "{{- 'true' if v is string else 'false' }}{{- '\">' }}"
        "{{- v if v is string else v | tojson }}{{- '</|X|parameter>\\n' }}{%- endfor %}"
        "{{- '</|X|invoke>\\n' }}{%- endfor %}{{- '</|X|calls>' }}"
    ),
    "code": _chatml(
        "<|tool_call_start|>["
        "{%- for c in m.tool_calls %}{{- c.function.name + '(' }}"
        "{%- for k, v in c.function.arguments | items %}{{- k + '=' + (v | tojson) }}"
        "{%- if not loop.last %}{{- ', ' }}{% endif %}{%- endfor %}{{- ')' }}"
        "{%- if not loop.last %}{{- ', ' }}{% endif %}{%- endfor %}"
        "]<|tool_call_end|>"
    ),
    "lines_of_code": _chatml(
        "<function_calls>"
        "{%- for c in m.tool_calls %}{{- '\n' + c.function.name + '(' }}"
        "{%- for k, v in c.function.arguments | items %}{{- k + '=' + (v | tojson) }}"
        "{%- if not loop.last %}{{- ', ' }}{% endif %}{%- endfor %}{{- ')' }}{%- endfor %}"
        "{{- '\n</function_calls>' }}"
    ),
    "named_in_tag": _chatml(
        _each(
            "'<tool_call name=\"' + c.function.name + '\">'"
            " + (c.function.arguments | tojson) + '</tool_call>'"
        )
    ),
    "bare_name": _chatml(_each("c.function.name + '\n' + (c.function.arguments | tojson)")),
    "bare_code": _chatml(
        "["
        "{%- for c in m.tool_calls %}{{- c.function.name + '(' }}"
        "{%- for k, v in c.function.arguments | items %}{{- k + '=' + (v | tojson) }}"
        "{%- if not loop.last %}{{- ', ' }}{% endif %}{%- endfor %}{{- ')' }}"
        "{%- if not loop.last %}{{- ', ' }}{% endif %}{%- endfor %}]"
    ),
    "nested_tags": """\
{%- macro value(v) %}
{%- if v is mapping %}
{%- for k, w in v | items %}{{ ']<]minimax[>[<' + k + '>' }}{{ value(w) }}
{{- ']<]minimax[>[</' + k + '>' }}{% endfor %}
{%- elif v is sequence and v is not string %}
{%- for w in v %}{{ ']<]minimax[>[<item>' }}{{ value(w) }}{{ ']<]minimax[>[</item>' }}{% endfor %}
{%- else %}{{ v if v is string else v | tojson }}{% endif %}
{%- endmacro %}
"""
    + _chatml(
        "{{- ']<]minimax[>[<tool_call>\\n' }}{%- for c in m.tool_calls %}"
        "{{- ']<]minimax[>[<invoke name=\"' + c.function.name + '\">' }}"
        "{{- value(c.function.arguments) }}"
        "{{- ']<]minimax[>[</invoke>\\n' }}{%- endfor %}{{- ']<]minimax[>[</tool_call>' }}"
    ).replace("think>", "mm:think>"),
    "channels": """\
{%- for m in messages %}
{%- if m.role == 'assistant' %}
{%- if m.reasoning_content %}
{{- '<|start|>assistant<|channel|>analysis<|message|>' + m.reasoning_content + '<|end|>' }}
{%- endif %}
{%- if m.content %}
{{- '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|end|>' }}
{%- endif %}
{%- for c in m.tool_calls or [] %}
{{- '<|start|>assistant<|channel|>commentary to=functions.' + c.function.name }}
{{- ' <|constrain|>json<|message|>' + (c.function.arguments | tojson) + '<|call|>' }}
{%- endfor %}
{%- else %}{{- '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{% endif %}
""",
    "arrows": """\
{%- for m in messages %}
{{- '<|h|>' + m.role + '<|/h|>\\n\\n' }}
{%- if m.role == 'assistant' %}
{%- if m.content %}{{- '>>>all\\n' + m.content }}{% endif %}
{%- for c in m.tool_calls or [] %}
{{- '>>>' + c.function.name + '\\n' + (c.function.arguments | tojson) }}{% endfor %}
{%- else %}{{- m.content }}{% endif %}
{{- '<|eot|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|h|>assistant<|/h|>\\n\\n>>>' }}{% endif %}
""",
    "wrapped_content": """\
{%- for m in messages %}
{{- '<|turn|>' + m.role + '<|/turn|>' }}
{%- if m.role == 'assistant' %}
{%- if m.reasoning_content %}
{{- '<|START_THINKING|>' + m.reasoning_content + '<|END_THINKING|>' }}{% endif %}
{%- if m.content %}{{- '<|START_TEXT|>' + m.content + '<|END_TEXT|>' }}{% endif %}
{%- if m.tool_calls %}{{- '<|START_ACTION|>[' }}
{%- for c in m.tool_calls %}
{{- '{"tool_call_id": "' ~ loop.index0 ~ '", "tool_name": "' + c.function.name }}
{{- '", "parameters": ' + (c.function.arguments | tojson) + '}' }}
{%- if not loop.last %},{% endif %}{% endfor %}{{- ']<|END_ACTION|>' }}{% endif %}
{%- else %}{{- m.content }}{% endif %}
{{- '<|end_of_turn|>' }}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|turn|>assistant<|/turn|>' }}{% endif %}
""",
}
"""Jinja sources by name."""

KEEPS_IDS = {"id_behind", "named_with_id", "name_in_id"}
BARE = {"bare", "bare_code", "bare_name"}
KNOWS_NO_REASONING = {"arrows"}


@cache
def compiled(name: str) -> ChatTemplate:
    return ChatTemplate(TEMPLATES[name])


@cache
def format_of(name: str) -> OutputFormat:
    """The format derived from a small template."""
    source = TEMPLATES[name]
    rendered = {}
    for probe, request in probes(source).items():
        try:
            rendered[probe] = compiled(name).render(request)
        except TemplateFailed:
            continue
    return derive_format(source, rendered)
