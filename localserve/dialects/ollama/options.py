"""The fields that chat and generate share: `options`, `think`, `keep_alive` and what is refused.

Options are hints: those that say how a model is loaded (`num_ctx`, `num_gpu`, `num_thread`,
`num_batch`, `use_mmap` ...) have no effect, for a reload would cost other clients their model. Any
thread.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from localserve.chat import Generation, JsonShape, Sampling, Shape
from localserve.dialects.bounds import (
    LARGEST_INTEGER,
    LARGEST_TOKEN,
    MAX_PENALTY_WINDOW_TOKENS,
    MAX_STOPS,
    Name,
    Penalty,
    RepeatPenalty,
    Share,
    StopText,
)
from localserve.dialects.ollama.keep_alive import KeepAlive
from localserve.dialects.schema import WireBody, WireModel
from localserve.dialects.schemas import ANY_OBJECT, schema_text
from localserve.dialects.urgency import UrgencyFields
from localserve.errors import UnsupportedField

MAX_TOP_LOGPROBS = 20


def _whole(value: Any) -> Any:
    """A whole number, which clients may write as 40.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = BeforeValidator(_whole)
Count = Annotated[int, Whole, Field(ge=-LARGEST_INTEGER - 1, le=LARGEST_INTEGER)]
Think = bool | Annotated[str, Field(max_length=32)] | None


class Options(WireModel):
    """How the answer is generated. Source: Ollama's Modelfile parameters."""

    num_predict: Count | None = None
    temperature: Annotated[float, Field(ge=0, le=5)] | None = None
    top_k: Annotated[int, Whole, Field(ge=-1, le=LARGEST_TOKEN)] | None = None
    top_p: Share | None = None
    min_p: Share | None = None
    typical_p: Share | None = None
    repeat_penalty: RepeatPenalty | None = None
    repeat_last_n: Annotated[int, Whole, Field(ge=-1, le=MAX_PENALTY_WINDOW_TOKENS)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: Count | None = None
    stop: StopText | Annotated[list[StopText], Field(max_length=MAX_STOPS)] | None = None
    mirostat: Count | None = None

    def generation(self, top_logprobs: int | None) -> Generation:
        """In the inner vocabulary. A `num_predict` of 0 or less is no limit, as in Ollama.

        Raises: UnsupportedField.
        """
        if self.mirostat:
            raise unsupported("options.mirostat", "Use temperature, top_k, top_p and min_p.")
        limit = self.num_predict
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Generation(
            sampling=self._sampling(),
            max_tokens=limit if limit is not None and limit > 0 else None,
            stop=tuple(dict.fromkeys(text for text in stops if text)),
            top_logprobs=top_logprobs,
        )

    def _sampling(self) -> Sampling:
        window = self.repeat_last_n
        return Sampling(
            temperature=self.temperature,
            top_p=self.top_p,
            top_k=0 if self.top_k == -1 else self.top_k,
            min_p=self.min_p,
            typical_p=self.typical_p,
            repeat_penalty=self.repeat_penalty,
            repeat_last_n=MAX_PENALTY_WINDOW_TOKENS if window == -1 else window,
            frequency_penalty=self.frequency_penalty,
            presence_penalty=self.presence_penalty,
            seed=None if self.seed in (None, -1) else (self.seed or 0) & 0xFFFF_FFFF,
        )


class AnswerBody(UrgencyFields, WireBody):
    """What both kinds of answers have in common."""

    model: Name | None = None
    stream: bool | None = None
    format: Any = None
    keep_alive: KeepAlive = None
    options: Options | None = None
    think: Think = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Whole, Field(ge=0, le=MAX_TOP_LOGPROBS)] | None = None

    @property
    def streams(self) -> bool:
        """Answers are streams unless a client says otherwise."""
        return self.stream is not False

    def generation(self) -> Generation:
        """Raises: UnsupportedField."""
        options = self.options or Options()
        generation = options.generation((self.top_logprobs or 0) if self.logprobs else None)
        return replace(generation, shape=read_format(self.format))

    def template_options(self) -> dict[str, object]:
        """What `think` tells the template: false switches thinking off, a level is an effort."""
        match self.think:
            case None | "":
                return {}
            case bool(on):
                return {"enable_thinking": on}
            case level:
                return {"enable_thinking": level != "none", "reasoning_effort": level}


def read_format(value: object) -> Shape | None:
    """ "json" is any object, an object is a schema. Raises: UnsupportedField."""
    if value in (None, "", {}):
        return None
    if value == "json":
        return JsonShape(ANY_OBJECT, "format")
    if isinstance(value, dict):
        return JsonShape(schema_text(value), "format")
    raise unsupported("format", 'Send "json", a schema, or nothing.')


def refuse_images(images: object, place: str) -> None:
    """Raises: UnsupportedField where there are any."""
    if images not in (None, []):
        raise unsupported(place, "Only text is supported: leave images out.")


def unsupported(name: str, hint: str) -> UnsupportedField:
    """The error for a field that would change the answer."""
    return UnsupportedField(
        f"The field {name!r} would change the answer and is not supported.", param=name, hint=hint
    )


Role = Literal["system", "developer", "user", "assistant", "tool", "function"]
