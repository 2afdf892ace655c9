"""OpenAI's responses: items in, items and events out.

Knows nothing of HTTP, of who answers and of where responses are kept. Pure; any thread.
"""

from localserve.dialects.openai.responses.answer import Given, ResponseAnswer
from localserve.dialects.openai.responses.items import Item, size_of
from localserve.dialects.openai.responses.request import AskedResponse, parse_response

__all__ = ["AskedResponse", "Given", "Item", "ResponseAnswer", "parse_response", "size_of"]
