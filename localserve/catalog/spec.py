"""What is known of a model before it is loaded: its entry in models.toml, as a frozen value.

Knows nothing of files being there, of the network and of how entries are written. Any thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from localserve.chat import Sampling
from localserve.gguf.pooling import Pooling

ModelKind = Literal["chat", "completion", "embedding"]


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A GGUF file of this machine; of a split model the first shard."""

    path: Path


@dataclass(frozen=True, slots=True)
class HubFile:
    """Files of a repository on the hub.

    `pattern` is the path of a file in it, with `{quantization}` where the quantization's name
    stands and `*` for anything; None means any GGUF file that has the name in its own.
    """

    repo: str
    pattern: str | None = None


@dataclass(frozen=True, slots=True)
class Replica:
    """One server that has the model: `base_url` ends before `/chat/completions`. The environment
    variable `key_variable` has its key (None: it wants none). `weight` is its share of the work."""

    base_url: str
    key_variable: str | None = None
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class RemoteEngine:
    """Other servers that answer in OpenAI's format, and know the model as `model`.

    They have `connect_seconds` to take a connection, `first_token_seconds` to begin an answer, and
    `between_seconds` for each piece after that.
    """

    model: str
    replicas: tuple[Replica, ...]
    connect_seconds: float = 5.0
    first_token_seconds: float = 300.0
    between_seconds: float = 60.0


ModelSource = LocalFile | HubFile | RemoteEngine


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes that memory and speed depend on.

    `parameters` counts all of them, `active_parameters` those that one token uses (fewer in a
    mixture of experts). `heads` and `kv_heads` are per layer, each `head_size` wide.
    """

    parameters: int
    active_parameters: int
    layers: int
    embedding_length: int
    heads: int
    kv_heads: int
    head_size: int
    vocabulary: int
    trained_context_tokens: int


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One model that can be served.

    None means: as the server or the model's own file says. `keep_alive_seconds` without a request
    unload it (0: it stays until its memory is needed), one with `pin` stays in any case. With a
    `pooling` it makes vectors, whatever its file says.
    `projector` is the file that sees or hears for the model, `draft` the name of an entry or the
    path of a file that guesses for it: room is kept for them.
    `quantizations` maps the name of a quantization to the bytes of its files. `verified` says that
    repository, file names and bytes agree with published records; in either case they only serve
    to plan before a download.
    """

    name: str
    source: ModelSource
    aliases: tuple[str, ...] = ()
    kind: ModelKind = "chat"
    pooling: Pooling | None = None
    context_tokens: int | None = None
    parallel: int | None = None
    cache_type_k: str | None = None
    cache_type_v: str | None = None
    gpu_layers: int | None = None
    cpu_moe_layers: int | None = None
    max_tokens: int | None = None
    sampling: Sampling = field(default_factory=Sampling)
    chat_template: str | None = None
    keep_alive_seconds: float | None = None
    pin: bool = False
    projector: Path | None = None
    draft: str | None = None
    shape: Shape | None = None
    quantizations: Mapping[str, int] = field(default_factory=dict)
    verified: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The name, then the aliases."""
        return (self.name, *self.aliases)
