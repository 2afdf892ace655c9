"""Grammars in llama.cpp's GBNF, converted to Lark by llguidance's own converter. Pure.

Source: llama.cpp's grammars/README.md; llguidance.gbnf_to_lark.
"""

from __future__ import annotations

import re

from llguidance.gbnf_to_lark import gbnf_to_lark

from localserve.errors import GrammarInvalid


def is_gbnf(grammar: str) -> bool:
    """Whether a grammar is GBNF rather than Lark: rules are defined by `::=` in it."""
    return _DEFINITION.search(grammar) is not None


def lark_of_gbnf(grammar: str, field: str) -> str:
    """The same grammar in Lark. Raises: GrammarInvalid, naming `field`."""
    try:
        return _OPTIONS.sub("", gbnf_to_lark(_CONTINUED.sub(" |", grammar)))
    except Exception as failure:  # it raises plain ones, too
        raise GrammarInvalid(
            f"The GBNF grammar in {field} cannot be read: {failure}.",
            param=field,
            hint='Rules look like: root ::= "yes" | "no"',
        ) from failure


_DEFINITION = re.compile(r"^\s*[\w\-]+\s*::=", re.MULTILINE)
_CONTINUED = re.compile(r"\n\s*\|")
_OPTIONS = re.compile(r"^%llguidance[^\n]*\n", re.MULTILINE)
