"""Requests of the chat vocabulary as other servers take them, in OpenAI's format.

What the format has no word for goes under the names that vLLM and llama-server share, and only
where it was asked for. Pure; knows nothing of HTTP.
"""

from __future__ import annotations

import json
from typing import Any

from localserve.chat import (
    CallPolicy,
    ChatRequest,
    ChoiceShape,
    CompletionRequest,
    EmbeddingRequest,
    Generation,
    GrammarShape,
    JsonShape,
    Message,
    Prompt,
    RegexShape,
    Sampling,
    Shape,
    Tool,
)
from localserve.errors import NotSupported

Fields = dict[str, Any]

_SAMPLING = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "typical_p": "typical_p",
    "repeat_penalty": "repeat_penalty",
    "repeat_last_n": "repeat_last_n",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
}


def chat_fields(request: ChatRequest, model: str, sampling: Sampling) -> Fields:
    """The body of a streamed chat; `sampling` is what applies. Raises: NotSupported."""
    fields: Fields = {
        "model": model,
        "messages": [_message_fields(one) for one in request.messages],
        **_generation_fields(request.generation, sampling),
    }
    if request.tools:
        fields["tools"] = [_tool_fields(tool) for tool in request.tools]
        fields |= _call_fields(request.calls)
    if request.template_options:
        fields["chat_template_kwargs"] = dict(request.template_options)
    if request.reasoning_tokens is not None:
        fields["thinking_budget"] = request.reasoning_tokens
    if request.generation.top_logprobs is not None:
        fields["logprobs"] = True
        fields["top_logprobs"] = request.generation.top_logprobs
    return fields


def completion_fields(request: CompletionRequest, model: str, sampling: Sampling) -> Fields:
    """The body of a streamed text completion. Raises: NotSupported."""
    if request.generation.top_logprobs is not None:
        raise _unsupported("log probabilities of text completions", "logprobs")
    prompts = [_prompt(one) for one in request.prompts]
    fields: Fields = {
        "model": model,
        "prompt": prompts[0] if len(prompts) == 1 else prompts,
        **_generation_fields(request.generation, sampling),
    }
    if request.suffix is not None:
        fields["suffix"] = request.suffix
    if request.echo:
        fields["echo"] = True
    return fields


def embedding_fields(request: EmbeddingRequest, model: str) -> Fields:
    """The body of a request for vectors. Raises: NotSupported."""
    fields: Fields = {
        "model": model,
        "input": [_prompt(one) for one in request.inputs],
        "encoding_format": "float",
    }
    if request.dimensions is not None:
        fields["dimensions"] = request.dimensions
    return fields


def _generation_fields(generation: Generation, sampling: Sampling) -> Fields:
    if generation.text_bias:
        raise _unsupported("logit_bias by text", "logit_bias")
    if generation.line_seconds is not None or generation.min_indent:
        raise _unsupported("limits by line and indentation", "t_max_predict_ms")
    fields: Fields = {"stream": True, "stream_options": {"include_usage": True}}
    for name, wire in _SAMPLING.items():
        if (value := getattr(sampling, name)) is not None:
            fields[wire] = value
    if sampling.logit_bias:
        fields["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias}
    if generation.max_tokens is not None:
        fields["max_tokens"] = generation.max_tokens
    if generation.stop:
        fields["stop"] = list(generation.stop)
    if generation.choices != 1:
        fields["n"] = generation.choices
    if generation.ignore_eos:
        fields["ignore_eos"] = True
    if generation.shape is not None:
        fields |= _shape_fields(generation.shape)
    return fields


def _shape_fields(shape: Shape) -> Fields:
    """JSON in OpenAI's words, all else in vLLM's."""
    match shape:
        case JsonShape(schema):
            form = {"name": "answer", "schema": json.loads(schema), "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": form}}
        case RegexShape(pattern):
            return {"structured_outputs": {"regex": pattern}}
        case ChoiceShape(choices):
            return {"structured_outputs": {"choice": list(choices)}}
        case GrammarShape(grammar):
            return {"structured_outputs": {"grammar": grammar}}


def _call_fields(policy: CallPolicy) -> Fields:
    fields: Fields = {}
    if policy.only:
        named = [{"type": "function", "function": {"name": name}} for name in policy.only]
        mode = "required" if policy.required else "auto"
        allowed = {"mode": mode, "tools": named}
        one = policy.required and len(named) == 1
        fields["tool_choice"] = (
            named[0] if one else {"type": "allowed_tools", "allowed_tools": allowed}
        )
    elif policy.required:
        fields["tool_choice"] = "required"
    if not policy.parallel:
        fields["parallel_tool_calls"] = False
    return fields


def _message_fields(message: Message) -> Fields:
    fields: Fields = {"role": message.role, "content": message.content}
    if message.name is not None:
        fields["name"] = message.name
    if message.reasoning is not None:
        fields["reasoning_content"] = message.reasoning
    if message.tool_call_id is not None:
        fields["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        fields["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.tool_calls
        ]
    return fields


def _tool_fields(tool: Tool) -> Fields:
    function: Fields = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = dict(tool.parameters)
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _prompt(prompt: Prompt) -> str | list[int]:
    if isinstance(prompt, str):
        return prompt
    ids = [part for part in prompt if isinstance(part, int)]
    if len(ids) == len(prompt):
        return ids
    if len(prompt) == 1 and isinstance(prompt[0], str):
        return prompt[0]
    raise _unsupported("prompts of ids and texts together", "prompt")


def _unsupported(what: str, param: str) -> NotSupported:
    return NotSupported(
        f"The model is served by another server, which takes no {what}.",
        param=param,
        hint="Leave it out, or ask a model of this machine.",
    )
