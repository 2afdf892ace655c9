"""From texts to the prompts of one model, as tokens that fit its context. Any thread.

Knows nothing of templates and of answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from localserve.chat import InfillRequest, Message, Prompt
from localserve.engine.runner import FillMarkers
from localserve.errors import ContextOverflow, InvalidRequest, NoFillMiddle
from localserve.prompting.middle import Middle, around, middle_prompt
from localserve.prompting.places import checkpoints

LONG_TEXT_BYTES = 1 << 20
"""Shorter ones are quickly tokenized."""


class Words(Protocol):
    """What is needed of a vocabulary. Safe on any thread."""

    @property
    def size(self) -> int: ...

    @property
    def begin(self) -> int | None: ...

    @property
    def end(self) -> int | None: ...

    @property
    def adds_begin(self) -> bool: ...

    @property
    def fill_markers(self) -> FillMarkers | None: ...

    def tokenize(self, text: str, *, add_special: bool, parse_special: bool) -> list[int]: ...

    def text(self, token: int | None) -> str: ...

    def spelling(self, token: int) -> bytes: ...

    def least_tokens(self, text_bytes: int) -> int: ...


class Prompts:
    """Makes the prompts of one model. `cells` is its context, `saves` says that it has checkpoints.

    Raises everywhere: ContextOverflow; InvalidRequest, for tokens that there are not.
    """

    def __init__(self, vocabulary: Words, name: str, *, cells: int, saves: bool = False) -> None:
        self._vocabulary = vocabulary
        self._name = name
        self._cells = cells
        self._saves = saves

    def of_chat(self, text: str, messages: Sequence[Message]) -> tuple[list[int], tuple[int, ...]]:
        """A rendered conversation, and where checkpoints of it are worth having."""
        tokens = self._fitting(self._of_text(text, "messages"), "messages")
        if not self._saves:
            return tokens, ()
        return tokens, checkpoints(messages, text, tokens, self._vocabulary.spelling)

    def of_prompt(self, prompt: Prompt) -> list[int]:
        """A prompt as it was sent."""
        if isinstance(prompt, str):
            return self._fitting(self._of_text(prompt, "prompt"), "prompt")
        for part in prompt:
            if isinstance(part, str):
                self._check_size(part, "prompt")
        tokens = self.of_parts(prompt, "prompt", add_special=True, parse_special=True)
        return self._fitting(tokens or self._of_text("", "prompt"), "prompt")

    def of_parts(
        self, parts: Prompt, param: str, *, add_special: bool, parse_special: bool
    ) -> list[int]:
        """Ids and texts one behind the other; the first text may get what begins all prompts, if
        nothing stands before it."""
        if isinstance(parts, str):
            parts = (parts,)
        tokens: list[int] = []
        for part in parts:
            if isinstance(part, str):
                special = add_special and not tokens
                tokens += self._vocabulary.tokenize(
                    part, add_special=special, parse_special=parse_special
                )
            else:
                self.check_token(part, param)
                tokens.append(part)
        return tokens

    def of_suffixed(self, prompt: Prompt, suffix: str) -> list[int]:
        """Prefix and suffix as the model was trained to see them before it writes the middle."""
        markers = self._markers("suffix")
        if not isinstance(prompt, str):
            raise InvalidRequest("With a suffix, the prompt must be text.", param="prompt")
        self._check_size(prompt + suffix, "prompt")
        tokens = around(markers, self._plain(prompt), self._plain(suffix))
        begin = self._begin()
        return self._fitting(tokens if begin is None else [begin, *tokens], "prompt")

    def of_middle(self, request: InfillRequest) -> Middle:
        """What an editor asks to fill, with what it knows of other files."""
        markers = self._markers(None)
        middle = middle_prompt(
            request, markers, self._plain, begin=self._begin(), cells=self._cells
        )
        self._fitting(middle.tokens, "input_prefix")  # a context of a few tokens has no room
        return middle

    def check_token(self, token: int, param: str) -> None:
        """Raises: InvalidRequest."""
        if not 0 <= token < self._vocabulary.size:
            raise InvalidRequest(
                f"There is no token {token}: this model's vocabulary has {self._vocabulary.size}.",
                param=param,
            )

    def count(self, text: str) -> int:
        """How many tokens a prompt has, whether they fit or not."""
        return len(self._whole(text))

    def spellings(self, tokens: Sequence[int], param: str) -> list[bytes]:
        """The bytes of each token, special ones as they are written."""
        for token in tokens:
            self.check_token(token, param)
        return list(map(self._vocabulary.spelling, tokens))

    def spell(self, tokens: Sequence[int]) -> str:
        """Tokens as text, special ones as they are written."""
        return b"".join(map(self._vocabulary.spelling, tokens)).decode("utf-8", "replace")

    def _fitting(self, tokens: Sequence[int], param: str) -> list[int]:
        if len(tokens) > self._cells:
            raise ContextOverflow(len(tokens), self._cells, param=param)
        return list(tokens)

    def _of_text(self, text: str, param: str) -> list[int]:
        self._check_size(text, param)
        tokens = self._whole(text)
        if tokens:
            return tokens
        for token in (self._vocabulary.begin, self._vocabulary.end):
            if token is not None:
                return [token]
        raise InvalidRequest("The prompt is empty.", param="prompt")

    def _whole(self, text: str) -> list[int]:
        """Tokens of a whole prompt; never with two BOS."""
        begin = self._vocabulary.text(self._vocabulary.begin)
        doubled = bool(begin) and self._vocabulary.adds_begin and text.startswith(begin)
        return self._vocabulary.tokenize(text, add_special=not doubled, parse_special=True)

    def _check_size(self, text: str, param: str) -> None:
        """Refuse at once what no tokenization could make fit: a long one takes many seconds."""
        size = len(text.encode("utf-8", "surrogatepass"))
        if size < LONG_TEXT_BYTES:
            return
        least = self._vocabulary.least_tokens(size)
        if least > self._cells:
            raise ContextOverflow(least, self._cells, param=param, counted=False)

    def _plain(self, text: str) -> list[int]:
        return self._vocabulary.tokenize(text, add_special=False, parse_special=False)

    def _begin(self) -> int | None:
        return self._vocabulary.begin if self._vocabulary.adds_begin else None

    def _markers(self, param: str | None) -> FillMarkers:
        markers = self._vocabulary.fill_markers
        if markers is None:
            raise NoFillMiddle(self._name, param)
        return markers
