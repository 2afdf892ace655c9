"""Known fields that would change the answer and are not supported: they are refused by name.

Pure; any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from localserve.errors import UnsupportedField

_OTHER_SAMPLER = "Use temperature, top_k, top_p, min_p, typical_p and the penalties."


@dataclass(frozen=True, slots=True)
class Refusal:
    """When the value of a field asks for something. `hint` says what to do instead."""

    hint: str = "Leave it out."
    asks: Callable[[object], bool] = bool


def _positive(value: object) -> bool:
    """Whether it is above 0, or no number at all."""
    return value is not None and not (isinstance(value, int | float) and value <= 0)


REFUSED: Mapping[str, Refusal] = {
    # Other ways to choose a token.
    "mirostat": Refusal(_OTHER_SAMPLER, _positive),
    "dry_multiplier": Refusal(_OTHER_SAMPLER, _positive),
    "xtc_probability": Refusal(_OTHER_SAMPLER, _positive),
    "dynatemp_range": Refusal(_OTHER_SAMPLER, _positive),
    "top_n_sigma": Refusal(_OTHER_SAMPLER, _positive),
    "adaptive_target": Refusal(_OTHER_SAMPLER, _positive),
    "min_keep": Refusal(_OTHER_SAMPLER, _positive),
    "lora": Refusal(),
    # Other than text.
    "image_data": Refusal("Only text is supported: leave it out."),
    "multimodal_data": Refusal("Only text is supported: leave it out."),
    # Other things in the answer.
    "post_sampling_probs": Refusal("Probabilities are those before any filter: leave it out."),
}


def refuse_unsupported(fields: Mapping[str, object]) -> None:
    """Raises: UnsupportedField for the first field that asks for something unsupported."""
    for name, value in fields.items():
        refusal = REFUSED.get(name)
        if refusal is not None and refusal.asks(value):
            raise UnsupportedField(
                f"The field {name!r} would change the answer and is not supported.",
                param=name,
                hint=refusal.hint,
            )
