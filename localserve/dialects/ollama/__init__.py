"""Ollama's API: chat, generate, embeddings, models, pulls and errors: wire format to vocabulary and
back.

Knows nothing of HTTP, of other dialects and of who answers. Pure; any thread. Source: Ollama's
docs/api.md and api/types.go.
"""

from localserve.dialects.ollama.answers import Answer, ChatAnswer, GenerateAnswer
from localserve.dialects.ollama.asked import Asked
from localserve.dialects.ollama.chat import parse_chat
from localserve.dialects.ollama.embed import (
    AskedEmbed,
    parse_embed,
    parse_embedding,
)
from localserve.dialects.ollama.errors import error_answer, error_line
from localserve.dialects.ollama.generate import Generate, parse_generate
from localserve.dialects.ollama.library import (
    SUCCESS,
    AskedPull,
    parse_delete,
    parse_pull,
    progress_line,
    status_line,
)
from localserve.dialects.ollama.models import (
    VERSION,
    Described,
    Running,
    list_fields,
    parse_show,
    running_fields,
    show_fields,
)

__all__ = [
    "SUCCESS",
    "VERSION",
    "Answer",
    "Asked",
    "AskedEmbed",
    "AskedPull",
    "ChatAnswer",
    "Described",
    "Generate",
    "GenerateAnswer",
    "Running",
    "error_answer",
    "error_line",
    "list_fields",
    "parse_chat",
    "parse_delete",
    "parse_embed",
    "parse_embedding",
    "parse_generate",
    "parse_pull",
    "parse_show",
    "progress_line",
    "running_fields",
    "show_fields",
    "status_line",
]
