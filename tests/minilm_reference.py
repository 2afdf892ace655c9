"""What all-MiniLM-L6-v2 should make of a text: BERT in numpy, straight from the published weights.

Written from the papers (BERT; WordPiece as in google-research/bert, tokenization.py), so that it
shares no line with llama.cpp: neither its tokenizer nor its arithmetic.
"""

from __future__ import annotations

import math
import unicodedata

import numpy as np

from tests.minilm import EPSILON, HEADS, LAYERS, WIDTH, Array, MiniLm

_erf = np.vectorize(math.erf, otypes=[np.float32])


def tokens_of(model: MiniLm, text: str) -> list[int]:
    """Token ids, [CLS] and [SEP] included."""
    numbers = {word: number for number, word in enumerate(model.words)}
    pieces = [piece for word in _words(text) for piece in _pieces(word, numbers)]
    return [numbers[piece] for piece in ("[CLS]", *pieces, "[SEP]")]


def embed(model: MiniLm, text: str) -> Array:
    """The mean of the last layer's vectors, of length 1; shape (WIDTH,)."""
    weights = model.weights
    tokens = tokens_of(model, text)
    state = (
        weights["embeddings.word_embeddings.weight"][tokens]
        + weights["embeddings.position_embeddings.weight"][: len(tokens)]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    state = _normed(model, "embeddings.LayerNorm", state)
    for layer in range(LAYERS):
        name = f"encoder.layer.{layer}"
        attended = _linear(model, f"{name}.attention.output.dense", _attention(model, name, state))
        state = _normed(model, f"{name}.attention.output.LayerNorm", state + attended)
        inner = _linear(model, f"{name}.intermediate.dense", state)
        inner = 0.5 * inner * (1 + _erf(inner / math.sqrt(2)))
        fed = _linear(model, f"{name}.output.dense", inner)
        state = _normed(model, f"{name}.output.LayerNorm", state + fed)
    mean: Array = state.mean(axis=0)
    return mean / np.linalg.norm(mean)


def _attention(model: MiniLm, name: str, state: Array) -> Array:
    def heads(part: str) -> Array:
        whole = _linear(model, f"{name}.attention.self.{part}", state)
        return whole.reshape(len(state), HEADS, WIDTH // HEADS).transpose(1, 0, 2)

    scores = heads("query") @ heads("key").transpose(0, 2, 1) / math.sqrt(WIDTH // HEADS)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    return (shares @ heads("value")).transpose(1, 0, 2).reshape(len(state), WIDTH)


def _linear(model: MiniLm, name: str, state: Array) -> Array:
    return state @ model.weights[f"{name}.weight"].T + model.weights[f"{name}.bias"]


def _normed(model: MiniLm, name: str, state: Array) -> Array:
    centred = state - state.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + EPSILON)
    return scaled * model.weights[f"{name}.weight"] + model.weights[f"{name}.bias"]


def _words(text: str) -> list[str]:
    """Lower case, no accents; punctuation and CJK characters are words of their own."""
    plain = unicodedata.normalize("NFD", text.lower())
    spaced = ""
    for character in plain:
        kind = unicodedata.category(character)
        if kind == "Mn" or (kind in ("Cc", "Cf") and not character.isspace()):
            continue
        alone = kind.startswith("P") or (character.isascii() and _is_symbol(character))
        alone = alone or "\u4e00" <= character <= "\u9fff"
        spaced += f" {character} " if alone else character
    return spaced.split()


def _is_symbol(character: str) -> bool:
    return not character.isalnum() and not character.isspace()


def _pieces(word: str, numbers: dict[str, int]) -> list[str]:
    """The longest pieces that are in the vocabulary, from the left."""
    pieces: list[str] = []
    begin = 0
    while begin < len(word):
        mark = "##" if begin else ""
        ends = range(len(word), begin, -1)
        end = next((end for end in ends if mark + word[begin:end] in numbers), None)
        if end is None:
            return ["[UNK]"]
        pieces.append(mark + word[begin:end])
        begin = end
    return pieces
