"""Known fields that would change the answer and are not supported: they are refused by name.

A field that does not change the answer (`user`, `store`, `metadata`, `service_tier`, `prediction`,
`prompt_cache_key`, `safety_identifier`, `verbosity`, ...) needs no entry:
it is accepted and has no effect. Pure; any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from localserve.errors import UnsupportedField


@dataclass(frozen=True, slots=True)
class Refusal:
    """When the value of a field asks for something. `hint` says what to do instead."""

    asks: Callable[[object], bool] = bool
    hint: str = "Leave it out."


def _other_than(*harmless: object) -> Callable[[object], bool]:
    def asks(value: object) -> bool:
        return value is not None and value not in harmless

    return asks


_OTHER_SAMPLER = "Use temperature, top_k, top_p, min_p, typical_p and the penalties."

REFUSED: Mapping[str, Refusal] = {
    # The forms of tools before `tools`. What depends on `tool_choice` is in dialects.openai.tools.
    "functions": Refusal(hint="Send them as tools."),
    "function_call": Refusal(_other_than("none", "auto"), "Send tools and tool_choice."),
    "web_search_options": Refusal(_other_than()),
    # Structured output besides what dialects.openai.shapes reads.
    "guided_whitespace_pattern": Refusal(hint="Use a grammar."),
    "structural_tag": Refusal(hint="Use tools with strict, or a grammar."),
    "grammar_lazy": Refusal(hint="Use tools with strict."),
    "grammar_triggers": Refusal(hint="Use tools with strict."),
    # Other than text.
    "audio": Refusal(hint="Only text can be generated: leave it out."),
    "modalities": Refusal(
        lambda value: bool(value) and value != ["text"], 'Only ["text"] is supported.'
    ),
    # Other ways to choose a token.
    "mirostat": Refusal(hint=_OTHER_SAMPLER),
    "mirostat_mode": Refusal(hint=_OTHER_SAMPLER),
    "dry_multiplier": Refusal(hint=_OTHER_SAMPLER),
    "xtc_probability": Refusal(hint=_OTHER_SAMPLER),
    "dynatemp_range": Refusal(hint=_OTHER_SAMPLER),
    "top_n_sigma": Refusal(_other_than(-1, 0), _OTHER_SAMPLER),
    "top_a": Refusal(hint=_OTHER_SAMPLER),
    "tfs_z": Refusal(_other_than(1), _OTHER_SAMPLER),
    "adaptive_target": Refusal(_other_than(-1, 0), _OTHER_SAMPLER),
    "epsilon_cutoff": Refusal(hint=_OTHER_SAMPLER),
    "eta_cutoff": Refusal(hint=_OTHER_SAMPLER),
    "smoothing_factor": Refusal(hint=_OTHER_SAMPLER),
    "min_keep": Refusal(hint=_OTHER_SAMPLER),
    "use_beam_search": Refusal(),
    "length_penalty": Refusal(_other_than(1)),
    "early_stopping": Refusal(),
    "lora": Refusal(),
    # Other limits and other ways to stop.
    "min_tokens": Refusal(hint="Use ignore_eos with max_tokens."),
    "stop_token_ids": Refusal(hint="Use stop with the tokens' texts."),
    "include_stop_str_in_output": Refusal(),
    "bad_words": Refusal(hint="Use logit_bias with -100."),
    "allowed_token_ids": Refusal(),
    "truncate_prompt_tokens": Refusal(hint="Nothing is truncated silently: shorten the prompt."),
    "truncation": Refusal(_other_than("disabled"), 'Nothing is truncated: send "disabled".'),
    # Another prompt than the messages and the model's template make.
    "chat_template": Refusal(hint="Templates are set in models.toml."),
    "documents": Refusal(),
    "add_special_tokens": Refusal(_other_than(True)),
    # Other things in the answer.
    "n_probs": Refusal(hint="Use logprobs."),
    "prompt_logprobs": Refusal(lambda value: value is not None and value is not False),
    "return_tokens": Refusal(),
    "return_token_ids": Refusal(),
    "return_tokens_as_token_ids": Refusal(),
    "response_fields": Refusal(),
    "skip_special_tokens": Refusal(_other_than(True)),
}


def refuse_unsupported(
    fields: Mapping[str, object], refused: Mapping[str, Refusal] = REFUSED
) -> None:
    """Raises: UnsupportedField for the first field that asks for something unsupported."""
    for name, value in fields.items():
        refusal = refused.get(name)
        if refusal is not None and refusal.asks(value):
            raise unsupported(name, refusal.hint)


def unsupported(name: str, hint: str = "Leave it out.") -> UnsupportedField:
    """The error for a field that would change the answer."""
    return UnsupportedField(
        f"The field {name!r} would change the answer and is not supported.", param=name, hint=hint
    )
