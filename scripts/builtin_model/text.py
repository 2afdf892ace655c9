"""Vocabulary, special tokens and chat template of the built-in model.

The splitting before byte-pair merging is the one that llama.cpp calls ``qwen2`` (single digits,
letters and signs apart), so that both tokenizers give the same tokens. Words are merged letters
only; then each word token has a twin that begins with a space. So a word has as many tokens after
a space as after a quote or a line break, and the same ones but for the first, whose twins start
with nearly the same embedding: that makes copying exact. The template is ChatML with tools in the
Hermes form.
"""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import jinja2
from builtin_model.data import DEFAULT_MIX, draw_samples
from builtin_model.draw import Sample
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

CONTROL_TOKENS: tuple[str, ...] = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|fim_prefix|>",
    "<|fim_suffix|>",
    "<|fim_middle|>",
)
MARKUP_TOKENS: tuple[str, ...] = (
    "<think>",
    "</think>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
)
END_OF_TURN = "<|im_end|>"
SPACE = "Ġ"
"""The space, as byte-level vocabularies write it."""
PRE_TOKENIZER = "qwen2"
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)

MARKUP = re.compile(r"(<\|?/?\w+\|?>)")
WORD = re.compile(r"( ?[A-Za-z]+)")

CHAT_TEMPLATE = r"""{%- macro text(content) -%}
{%- if content is string -%}
{{- content -}}
{%- elif content -%}
{%- for part in content -%}
{%- if part.type == 'text' -%}{{- part.text -}}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- set has_system = messages and messages[0].role == 'system' -%}
{%- set think = enable_thinking is defined and enable_thinking -%}
{%- if has_system or tools or think -%}
{{- '<|im_start|>system\n' -}}
{%- if has_system -%}
{{- text(messages[0].content) -}}
{%- if tools or think -%}{{- '\n\n' -}}{%- endif -%}
{%- endif -%}
{%- if tools -%}
{{- 'You may call these tools:\n<tools>\n' -}}
{%- for tool in tools -%}{{- tool | tojson -}}{{- '\n' -}}{%- endfor -%}
{{- '</tools>\nTo call one, write:\n' -}}
{{- '<tool_call>\n{"name": ..., "arguments": {...}}\n</tool_call>' -}}
{%- if think -%}{{- '\n\n' -}}{%- endif -%}
{%- endif -%}
{%- if think -%}{{- 'Think first.' -}}{%- endif -%}
{{- '<|im_end|>\n' -}}
{%- endif -%}
{%- for message in messages -%}
{%- if message.role == 'user' or (message.role == 'system' and not loop.first) -%}
{{- '<|im_start|>' + message.role + '\n' -}}{{- text(message.content) -}}{{- '<|im_end|>\n' -}}
{%- elif message.role == 'assistant' -%}
{{- '<|im_start|>assistant\n' -}}{{- text(message.content) -}}
{%- if message.tool_calls -%}
{%- for call in message.tool_calls -%}
{%- set function = call.function if call.function else call -%}
{%- if message.content or not loop.first -%}{{- '\n' -}}{%- endif -%}
{{- '<tool_call>\n{"name": "' + function.name + '", "arguments": ' -}}
{%- if function.arguments is string -%}
{{- function.arguments -}}
{%- else -%}
{{- function.arguments | tojson -}}
{%- endif -%}
{{- '}\n</tool_call>' -}}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\n' -}}
{%- elif message.role == 'tool' -%}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' -%}
{{- '<|im_start|>user' -}}
{%- endif -%}
{{- '\n<tool_response>\n' -}}{{- text(message.content) -}}{{- '\n</tool_response>' -}}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' -%}
{{- '<|im_end|>\n' -}}
{%- endif -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n' -}}{%- endif -%}"""


def compile_template(source: str) -> jinja2.Template:
    """The template as chat programs compile it: JSON unsorted and not escaped for HTML."""
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    environment.filters["tojson"] = lambda value: json.dumps(value, ensure_ascii=False)
    return environment.from_string(source)


TEMPLATE = compile_template(CHAT_TEMPLATE)
ASSISTANT = re.compile(r"(?<=<\|im_start\|>assistant\n)(.*?<\|im_end\|>)", re.DOTALL)


def render(
    messages: list[dict[str, Any]],
    tools: list[dict[str, Any]] | None = None,
    thinking: bool = False,
) -> str:
    """The prompt for the next assistant turn."""
    return TEMPLATE.render(
        messages=messages, tools=tools, add_generation_prompt=True, enable_thinking=thinking
    )


def full_text(sample: Sample) -> str:
    """Prompt, answer and end of turn."""
    if sample.parts:
        return "".join(sample.parts)
    if sample.raw is not None:
        prompt = sample.raw
    else:
        prompt = render(sample.messages(), sample.tools or None, sample.thinking)
    return prompt + sample.completion() + END_OF_TURN


class Spelling:
    """How the words of one sample are put together from tokens, drawn by seed."""

    def __init__(self, codec: Codec, sample: Sample) -> None:
        self.tokenizer, self.numbers = codec.tokenizer, codec.numbers
        self.letters, self.short = codec.letters, codec.short
        self.strange = sample.strange
        self.rng = random.Random(sample.broken)
        self.drawn: dict[str, list[str]] = {}
        self.few = self.some_letters() if sample.strange and self.rng.random() < 0.5 else []

    def tokens(self, word: str) -> list[int]:
        """Tokens of a word, which may begin with a space.

        A strange word at the beginning of a sentence is spelled as within it.
        """
        bare = word.lstrip(" ")
        space = SPACE if bare != word else ""
        small = bare[:1].lower() + bare[1:]
        if small in self.strange:
            bare = small
        if bare not in self.drawn:
            self.drawn[bare] = self.draw(bare)
        first, *others = self.drawn[bare]
        return [self.numbers[space + first], *(self.numbers[other] for other in others)]

    def draw(self, word: str) -> list[str]:
        """A word's pieces: as always, or in half of all longer words, drawn ones. A strange word's
        pieces are any tokens of letters."""
        if word in self.strange:
            return self.draw_strange()
        if len(word) < 4 or self.rng.random() < 0.5:
            whole: list[str] = self.tokenizer.encode(word).tokens
            return whole
        pieces: list[str] = []
        while word:
            longest = min(8, len(word) if pieces else len(word) - 1)
            fits = [n for n in range(1, longest + 1) if word[:n] in self.numbers]
            size = self.rng.choices(fits, [n**3 for n in fits])[0]
            pieces.append(word[:size])
            word = word[size:]
        return pieces

    def any_letters(self) -> str:
        """A token of letters; short ones, with which most rare words begin, more often."""
        return self.rng.choice(self.short if self.rng.random() < 0.3 else self.letters)

    def some_letters(self) -> list[str]:
        """The few tokens that make up all strange words of a sample.

        So the last two or three tokens do not tell where in the prompt a copy stands, as they do
        not in "seven" and "raven", or in 3 and 340.
        """
        return [self.any_letters() for _ in range(self.rng.randint(3, 12))]

    def draw_strange(self) -> list[str]:
        """The pieces of a strange word, unlike those of all others in the sample."""
        if self.few:
            pieces = self.rng.choices(self.few, k=self.rng.choice((1, 2, 2, 3, 3, 4)))
        else:
            pieces = [self.any_letters() for _ in range(self.rng.choice((1, 2, 2, 3)))]
        while pieces in self.drawn.values():
            pieces.append(self.rng.choice(self.few or self.letters))
        return pieces


class Codec:
    """The trained vocabulary: samples to tokens."""

    def __init__(self, path: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(path))
        self.size = self.tokenizer.get_vocab_size()
        self.numbers = self.tokenizer.get_vocab()
        self.letters = sorted(t for t in self.numbers if is_word(t) and SPACE + t in self.numbers)
        self.short = [token for token in self.letters if len(token) <= 2]
        self.description: dict[str, Any] = json.loads(path.read_text("utf-8"))

    def spaced(self) -> dict[int, int]:
        """Each token that is a word behind a space, and the token of the bare word."""
        return {
            number: self.numbers[token[1:]]
            for token, number in self.numbers.items()
            if token[:1] == SPACE and is_word(token[1:]) and token[1:] in self.numbers
        }

    def encode(self, text: str) -> list[int]:
        """Tokens of a text, special tokens recognised."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def encode_broken(self, text: str, spelling: Spelling) -> list[int]:
        """Tokens of a text, some words in smaller ones."""
        tokens: list[int] = []
        for number, part in enumerate(MARKUP.split(text)):
            if number % 2:
                tokens += self.encode(part)
                continue
            for index, between in enumerate(WORD.split(part)):
                if index % 2:
                    tokens += spelling.tokens(between)
                elif between:
                    tokens += self.encode(between)
        return tokens

    def encode_sample(self, sample: Sample) -> tuple[list[int], list[bool]]:
        """Tokens of a sample and which of them are to be learned."""
        if sample.parts:
            parts = sample.parts
        elif sample.raw is not None:
            parts = [sample.raw, full_text(sample)[len(sample.raw) :]]
        else:
            parts = ASSISTANT.split(full_text(sample))
        tokens: list[int] = []
        learned: list[bool] = []
        spelling = Spelling(self, sample)
        for number, part in enumerate(parts):
            ids = self.encode_broken(part, spelling) if sample.broken else self.encode(part)
            tokens += ids
            learned += [number % 2 == 1] * len(ids)
        return tokens, learned


def train_tokenizer(path: Path, size: int, seed: int) -> None:
    """Train the vocabulary on drawn samples and write it."""
    samples = draw_samples(seed, DEFAULT_MIX)
    rng = random.Random(seed)
    texts = []
    for _ in range(30000):
        task, sample = next(samples)
        if task not in ("copy", "raw") or rng.random() < 0.5:
            texts.append(re.sub(r"<\|?/?\w+\|?>", " ", full_text(sample)))
    letters = Tokenizer(models.BPE())
    letters.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.Split(Regex(r"\p{L}+"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        show_progress=False,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
    )
    letters.train_from_iterator(texts, trainer)
    tokenizer = Tokenizer(with_spaced_words(json.loads(letters.to_str())["model"]))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in CONTROL_TOKENS])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in MARKUP_TOKENS])
    tokenizer.save(str(path))


def with_spaced_words(model: dict[str, Any]) -> models.BPE:
    """The trained merges and, behind them, one merge of a space with each token of letters."""
    vocabulary: dict[str, int] = model["vocab"]
    merges = [tuple(m.split(" ")) if isinstance(m, str) else tuple(m) for m in model["merges"]]
    for token in sorted(filter(is_word, vocabulary), key=vocabulary.__getitem__):
        merges.append((SPACE, token))
        vocabulary[SPACE + token] = len(vocabulary)
    return models.BPE(vocab=vocabulary, merges=merges)


def is_word(token: str) -> bool:
    """Whether a token is made of plain letters."""
    return token.isascii() and token.isalpha()
