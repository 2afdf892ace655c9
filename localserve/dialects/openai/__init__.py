"""OpenAI's chat and text completions, embeddings, models and errors, and reranking: wire format to
vocabulary and back.

Knows nothing of HTTP, of other dialects and of who answers. Pure; any thread.
"""

from localserve.dialects.openai.answers import ChatAnswer, CompletionAnswer
from localserve.dialects.openai.asked import Asked
from localserve.dialects.openai.chat import parse_chat
from localserve.dialects.openai.completions import parse_completion
from localserve.dialects.openai.embeddings import AskedEmbedding, parse_embedding
from localserve.dialects.openai.errors import description_fields, error_fields, error_frame
from localserve.dialects.openai.frames import Answer
from localserve.dialects.openai.models import (
    ListedModel,
    LoadedModel,
    catalog_fields,
    list_fields,
    model_fields,
)
from localserve.dialects.openai.prompt import (
    AskedCount,
    AskedPrompt,
    RenderedPrompt,
    Rendering,
    parse_count,
    parse_prompt,
)
from localserve.dialects.openai.rerank import AskedRerank, parse_rerank

__all__ = [
    "Answer",
    "Asked",
    "AskedCount",
    "AskedEmbedding",
    "AskedPrompt",
    "AskedRerank",
    "ChatAnswer",
    "CompletionAnswer",
    "ListedModel",
    "LoadedModel",
    "RenderedPrompt",
    "Rendering",
    "catalog_fields",
    "description_fields",
    "error_fields",
    "error_frame",
    "list_fields",
    "model_fields",
    "parse_chat",
    "parse_completion",
    "parse_count",
    "parse_embedding",
    "parse_prompt",
    "parse_rerank",
]
