"""The routes that ask models, as they are described. Pure."""

from __future__ import annotations

from localserve.dialects.anthropic.messages import MessagesBody
from localserve.dialects.llama_server.completion import CompletionBody as NativeCompletionBody
from localserve.dialects.llama_server.embeddings import EmbeddingBody as NativeEmbeddingBody
from localserve.dialects.llama_server.infill import InfillBody
from localserve.dialects.llama_server.tokens import DetokenizeBody, TokenizeBody
from localserve.dialects.ollama.chat import ChatBody as OllamaChatBody
from localserve.dialects.ollama.embed import EmbedBody
from localserve.dialects.ollama.embed import EmbeddingBody as OllamaEmbeddingBody
from localserve.dialects.ollama.generate import GenerateBody
from localserve.dialects.openai.chat import ChatBody
from localserve.dialects.openai.completions import CompletionBody
from localserve.dialects.openai.embeddings import EmbeddingBody
from localserve.dialects.openai.rerank import RerankBody
from localserve.dialects.openai.responses.request import ResponseBody
from localserve.errors import NoFillMiddle, NotDownloaded, NotSupported
from localserve.server.errors import PreviousResponseUnknown, ResponseUnknown
from localserve.server.openapi import bodies
from localserve.server.openapi.declared import (
    ANSWERS,
    AT_ONCE,
    EVENTS,
    LINES,
    Declared,
    Dialect,
)

OPENAI = Dialect("OpenAI", "OpenAI's API.", bodies.Problem)
ANTHROPIC = Dialect("Anthropic", "Anthropic's API.", bodies.AnthropicProblem, {422: 400, 503: 529})
NATIVE = Dialect(
    "llama-server",
    "llama-server's API.",
    bodies.NativeProblem,
    {422: 400},
    {NoFillMiddle: 501, NotSupported: 501},
)
OLLAMA = Dialect("Ollama", "Ollama's API.", bodies.OllamaProblem, {422: 400}, {NotDownloaded: 404})
LM_STUDIO = Dialect("LM Studio", "LM Studio's API.", bodies.Problem)

HELLO = [{"role": "user", "content": "What is the capital of France?"}]
CHAT = {"messages": HELLO, "max_tokens": 16, "temperature": 0}
TEXT = {"prompt": "The capital of France is", "max_tokens": 16, "temperature": 0}
VECTOR = {"input": "A text that is made a vector."}
RANK = {"query": "capital of France", "documents": ["Paris is it.", "Bread is baked."]}

CONVERSATIONS: tuple[Declared, ...] = (
    Declared(
        "POST",
        "/v1/chat/completions",
        OPENAI,
        "Answer a conversation",
        bodies.ChatCompletion,
        ChatBody,
        CHAT,
        ANSWERS,
        stream=EVENTS,
    ),
    Declared(
        "POST",
        "/v1/completions",
        OPENAI,
        "Continue a text",
        bodies.TextCompletion,
        CompletionBody,
        TEXT,
        (*ANSWERS, NoFillMiddle),
        stream=EVENTS,
    ),
    Declared(
        "POST",
        "/v1/embeddings",
        OPENAI,
        "Make vectors of texts",
        bodies.EmbeddingList,
        EmbeddingBody,
        VECTOR,
        AT_ONCE,
    ),
    *(
        Declared(
            "POST",
            path,
            OPENAI,
            "Rank documents by a query",
            bodies.Ranking,
            RerankBody,
            RANK,
            AT_ONCE,
        )
        for path in ("/v1/rerank", "/v1/reranking")
    ),
    Declared(
        "POST",
        "/v1/responses",
        OPENAI,
        "Answer items, and remember the response",
        bodies.ResponseObject,
        ResponseBody,
        {"input": "What is the capital of France?", "max_output_tokens": 16},
        (*ANSWERS, PreviousResponseUnknown),
        stream=EVENTS,
    ),
    Declared(
        "GET",
        "/v1/responses/{id}",
        OPENAI,
        "A remembered response",
        bodies.ResponseObject,
        errors=(ResponseUnknown,),
    ),
    Declared(
        "DELETE",
        "/v1/responses/{id}",
        OPENAI,
        "Forget a response",
        bodies.DeletedResponse,
        errors=(ResponseUnknown,),
    ),
    Declared(
        "POST",
        "/v1/messages",
        ANTHROPIC,
        "Answer a conversation",
        bodies.AnthropicMessage,
        MessagesBody,
        {"model": "", "messages": HELLO, "max_tokens": 16},
        ANSWERS,
        stream=EVENTS,
    ),
    Declared(
        "POST",
        "/v1/messages/count_tokens",
        ANTHROPIC,
        "Count the tokens of a conversation",
        bodies.TokenTotal,
        MessagesBody,
        {"model": "", "messages": HELLO},
        AT_ONCE,
    ),
    *(
        Declared(
            "POST",
            path,
            NATIVE,
            "Continue a text, in llama-server's form",
            bodies.NativeAnswers,
            NativeCompletionBody,
            {"prompt": "The capital of France is", "n_predict": 16},
            ANSWERS,
            stream=EVENTS,
        )
        for path in ("/completion", "/completions")
    ),
    Declared(
        "POST",
        "/infill",
        NATIVE,
        "Fill the middle of a text",
        bodies.NativeAnswers,
        InfillBody,
        {"input_prefix": "def add(a, b):\n    ", "input_suffix": "\n", "n_predict": 16},
        (*ANSWERS, NoFillMiddle),
        stream=EVENTS,
    ),
    *(
        Declared(
            "POST",
            path,
            NATIVE,
            "Make vectors of texts, in llama-server's form",
            bodies.NativeVectors,
            NativeEmbeddingBody,
            {"content": "A text that is made a vector."},
            AT_ONCE,
        )
        for path in ("/embedding", "/embeddings")
    ),
    Declared(
        "POST",
        "/tokenize",
        NATIVE,
        "Token ids of a text",
        bodies.TokenIds,
        TokenizeBody,
        {"content": "Hello"},
        AT_ONCE,
    ),
    Declared(
        "POST",
        "/detokenize",
        NATIVE,
        "The text of token ids",
        bodies.DetokenizedText,
        DetokenizeBody,
        {"tokens": [72, 105]},
        AT_ONCE,
    ),
    Declared(
        "POST",
        "/apply-template",
        NATIVE,
        "The prompt that a conversation becomes",
        bodies.Prompt,
        ChatBody,
        {"messages": HELLO},
        AT_ONCE,
    ),
    Declared(
        "POST",
        "/v1/chat/completions/input_tokens",
        OPENAI,
        "Count the tokens of a conversation",
        bodies.TokenTotal,
        ChatBody,
        {"messages": HELLO},
        AT_ONCE,
    ),
    Declared(
        "POST",
        "/api/chat",
        OLLAMA,
        "Answer a conversation; streamed unless `stream` is false",
        bodies.OllamaAnswer,
        OllamaChatBody,
        {"model": "", "messages": HELLO, "stream": False},
        ANSWERS,
        stream=LINES,
    ),
    Declared(
        "POST",
        "/api/generate",
        OLLAMA,
        "Continue a text; streamed unless `stream` is false",
        bodies.OllamaAnswer,
        GenerateBody,
        {"model": "", "prompt": "The capital of France is", "stream": False},
        (*ANSWERS, NoFillMiddle),
        stream=LINES,
    ),
    Declared(
        "POST",
        "/api/embed",
        OLLAMA,
        "Make vectors of texts",
        bodies.OllamaVectors,
        EmbedBody,
        {"model": "", **VECTOR},
        AT_ONCE,
    ),
    Declared(
        "POST",
        "/api/embeddings",
        OLLAMA,
        "Make a vector of a text",
        bodies.OllamaVector,
        OllamaEmbeddingBody,
        {"model": "", "prompt": "A text that is made a vector."},
        AT_ONCE,
    ),
    Declared(
        "POST",
        "/api/v0/chat/completions",
        LM_STUDIO,
        "Answer a conversation",
        bodies.ChatCompletion,
        ChatBody,
        CHAT,
        ANSWERS,
        stream=EVENTS,
    ),
    Declared(
        "POST",
        "/api/v0/completions",
        LM_STUDIO,
        "Continue a text",
        bodies.TextCompletion,
        CompletionBody,
        TEXT,
        (*ANSWERS, NoFillMiddle),
        stream=EVENTS,
    ),
    Declared(
        "POST",
        "/api/v0/embeddings",
        LM_STUDIO,
        "Make vectors of texts",
        bodies.EmbeddingList,
        EmbeddingBody,
        VECTOR,
        AT_ONCE,
    ),
)
