"""Grammars that answers are kept within, and what enforces them, token by token."""
