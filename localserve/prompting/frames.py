"""What a server and its rendering child say to each other, with its length in front.

Requests are pickled: that is quick for conversations of megabytes, and the child trusts the server.
Answers are text or JSON, never pickled: whoever renders an untrusted template is not trusted.
Knows neither pipes nor processes. Pure; any thread.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping

from localserve.chat import Tool
from localserve.errors import InvalidRequest, TemplateFailed
from localserve.prompting.template import RenderRequest

HEADER_BYTES = 4
"""Big-endian length of what follows."""

_PROMPT, _REFUSAL = b"P", b"R"


def encode_request(request: RenderRequest) -> bytes:
    """A whole frame.

    Raises: InvalidRequest, when the options or a tool's schema are not JSON-like.
    """
    tools = [[tool.name, tool.description, tool.parameters] for tool in request.tools]
    try:
        made_by_clients = json.dumps([tools, request.options], default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequest(f"The tools or template options are not JSON: {error}") from None
    plain = (
        request.template,
        request.messages,
        request.bos,
        request.eos,
        made_by_clients,
        request.add_generation_prompt,
        request.day,
        request.whole,
    )
    return _frame(pickle.dumps(plain, pickle.HIGHEST_PROTOCOL))


def decode_request(body: bytes) -> RenderRequest:
    """What `encode_request` was given; `body` is a frame without its header."""
    template, messages, bos, eos, made_by_clients, generation, day, whole = pickle.loads(body)
    tools, options = json.loads(made_by_clients)
    return RenderRequest(
        template,
        messages,
        bos,
        eos,
        tuple(Tool(*fields) for fields in tools),
        options,
        generation,
        day,
        whole,
    )


def encode_answer(answer: str | InvalidRequest) -> bytes:
    """A whole frame with the prompt, or with the reason why there is none."""
    if isinstance(answer, str):
        # Lone surrogates can come in with a client's JSON and must not stop a render.
        return _frame(_PROMPT + answer.encode("utf-8", "surrogatepass"))
    failed = isinstance(answer, TemplateFailed)
    reason = {
        "failed": failed,
        "message": answer.message,
        "param": answer.param,
        "hint": answer.hint,
    }
    return _frame(_REFUSAL + json.dumps(reason).encode())


def decode_answer(body: bytes) -> str:
    """The prompt; `body` is a frame without its header.

    Raises: TemplateFailed, InvalidRequest, as the child raised them.
    """
    if body[:1] == _PROMPT:
        return body[1:].decode("utf-8", "surrogatepass")
    value = json.loads(body[1:])
    kind = TemplateFailed if value["failed"] else InvalidRequest
    raise kind(value["message"], param=value["param"], hint=value["hint"])


def _frame(body: bytes) -> bytes:
    return len(body).to_bytes(HEADER_BYTES, "big") + body


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a value is of type {type(value).__name__}")
