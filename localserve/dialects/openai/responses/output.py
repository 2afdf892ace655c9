"""The items of a response as they come into being, with the events that tell of it. Pure."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from uuid import uuid4

from localserve.chat import ToolCall, ToolCallBegun
from localserve.dialects.openai.responses.items import Called, OwnItem, Said, Thought

Fields = dict[str, object]


class Output(ABC):
    """One item: `begin`, then `more` texts, then `end`."""

    prefix: str

    def __init__(self, index: int) -> None:
        self.id = f"{self.prefix}_{uuid4().hex}"
        self._index = index
        self._status = "in_progress"
        self._texts: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self._texts)

    def begin(self) -> Iterator[Fields]:
        """The item as it is before any text."""
        yield self._event("response.output_item.added", item=self.fields())

    def more(self, text: str) -> Fields:
        """The next piece of its text."""
        self._texts.append(text)
        return self._more(text)

    def end(self, status: str) -> Iterator[Fields]:
        """The text and the item as a whole."""
        self._status = status
        yield from self._whole()
        yield self._event("response.output_item.done", item=self.fields())

    @abstractmethod
    def fields(self) -> Fields:
        """The item as it is now."""

    @abstractmethod
    def item(self) -> OwnItem:
        """The item by value."""

    @abstractmethod
    def _more(self, text: str) -> Fields: ...

    @abstractmethod
    def _whole(self) -> Iterator[Fields]: ...

    def _event(self, kind: str, **fields: object) -> Fields:
        return {"type": kind, "output_index": self._index, **fields}

    def _piece(self, kind: str, **fields: object) -> Fields:
        return self._event(kind, item_id=self.id, **fields)


class Text(Output):
    """A message with one part."""

    prefix = "msg"

    def begin(self) -> Iterator[Fields]:
        yield from super().begin()
        yield self._piece("response.content_part.added", content_index=0, part=_part(""))

    def fields(self) -> Fields:
        """Its content is there once it is whole."""
        return {
            "id": self.id,
            "type": "message",
            "status": self._status,
            "role": "assistant",
            "content": [] if self._status == "in_progress" else [_part(self.text)],
        }

    def item(self) -> OwnItem:
        return Said(self.id, "assistant", self.text)

    def _more(self, text: str) -> Fields:
        return self._piece("response.output_text.delta", content_index=0, delta=text, logprobs=[])

    def _whole(self) -> Iterator[Fields]:
        text = self.text
        yield self._piece("response.output_text.done", content_index=0, text=text, logprobs=[])
        yield self._piece("response.content_part.done", content_index=0, part=_part(text))


class Reasoning(Output):
    """What the model thinks, as a summary: that is what clients show, and send back."""

    prefix = "rs"

    def begin(self) -> Iterator[Fields]:
        yield from super().begin()
        yield self._piece(
            "response.reasoning_summary_part.added", summary_index=0, part=_summary("")
        )

    def fields(self) -> Fields:
        """Its summary is there once it is whole."""
        return {
            "id": self.id,
            "type": "reasoning",
            "status": self._status,
            "summary": [] if self._status == "in_progress" else [_summary(self.text)],
        }

    def item(self) -> OwnItem:
        return Thought(self.id, self.text)

    def _more(self, text: str) -> Fields:
        return self._piece("response.reasoning_summary_text.delta", summary_index=0, delta=text)

    def _whole(self) -> Iterator[Fields]:
        text = self.text
        yield self._piece("response.reasoning_summary_text.done", summary_index=0, text=text)
        yield self._piece(
            "response.reasoning_summary_part.done", summary_index=0, part=_summary(text)
        )


class Call(Output):
    """A call of a function; its text are the arguments."""

    prefix = "fc"

    def __init__(self, index: int, begun: ToolCallBegun) -> None:
        super().__init__(index)
        self._begun = begun

    def fields(self) -> Fields:
        """Its arguments are there once it is whole."""
        return {
            "id": self.id,
            "type": "function_call",
            "status": self._status,
            "call_id": self._begun.id,
            "name": self._begun.name,
            "arguments": "" if self._status == "in_progress" else self.text,
        }

    def item(self) -> OwnItem:
        return Called(self.id, ToolCall(self._begun.id, self._begun.name, self.text))

    def _more(self, text: str) -> Fields:
        return self._piece("response.function_call_arguments.delta", delta=text)

    def _whole(self) -> Iterator[Fields]:
        yield self._piece(
            "response.function_call_arguments.done", name=self._begun.name, arguments=self.text
        )


def _part(text: str) -> Fields:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _summary(text: str) -> Fields:
    return {"type": "summary_text", "text": text}
