"""llama-server's own routes, which editors use: wire format to vocabulary and back.

Knows nothing of HTTP, of other dialects and of who answers. Pure; any thread.
"""

from localserve.dialects.llama_server.answers import NativeAnswer
from localserve.dialects.llama_server.asked import Asked
from localserve.dialects.llama_server.completion import parse_completion
from localserve.dialects.llama_server.embeddings import AskedVectors, parse_embedding
from localserve.dialects.llama_server.errors import error_answer
from localserve.dialects.llama_server.infill import parse_infill
from localserve.dialects.llama_server.properties import (
    Properties,
    Running,
    properties_fields,
    slots_fields,
)
from localserve.dialects.llama_server.tokens import (
    AskedText,
    AskedTokens,
    Text,
    Tokens,
    parse_detokenize,
    parse_tokenize,
)

__all__ = [
    "Asked",
    "AskedText",
    "AskedTokens",
    "AskedVectors",
    "NativeAnswer",
    "Properties",
    "Running",
    "Text",
    "Tokens",
    "error_answer",
    "parse_completion",
    "parse_detokenize",
    "parse_embedding",
    "parse_infill",
    "parse_tokenize",
    "properties_fields",
    "slots_fields",
]
