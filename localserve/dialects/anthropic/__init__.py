"""Anthropic's messages: wire format to vocabulary and back.

Knows nothing of HTTP, of other dialects and of who answers. Pure; any thread.
"""

from localserve.dialects.anthropic.errors import error_answer

__all__ = ["error_answer"]
