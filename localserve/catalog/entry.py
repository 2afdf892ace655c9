"""One `[models.NAME]` table -> ModelSpec. The keys and their bounds are these pydantic models.

The head of the shipped models.toml describes the same keys to users. Knows nothing of other
entries. Any thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal, NoReturn
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic_core import ErrorDetails

from localserve.catalog.filenames import is_path
from localserve.catalog.spec import (
    HubFile,
    LocalFile,
    ModelSource,
    ModelSpec,
    RemoteEngine,
    Replica,
    Shape,
)
from localserve.chat import Sampling
from localserve.gguf.hyperparameters import MAX_LAYERS
from localserve.gguf.pooling import Pooling
from localserve.toml import KeyPath, TomlFile

MAX_TEMPLATE_BYTES = 1 << 20
MAX_KEEP_ALIVE_SECONDS = 31_536_000

Count = Annotated[int, Field(ge=1)]
Amount = Annotated[int, Field(ge=1, le=1 << 50)]
"""Of parameters or bytes: a thousand times the largest model's."""
Size = Annotated[int, Field(ge=1, lt=1 << 32)]
"""As llama.cpp holds the sizes of a header, in 32 bits."""
CacheType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]
Name = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^\S+$")]

EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
REMOTE_KEYS = ("model", "base_url", "key_env", "replicas", "timeouts")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class SamplingTable(_Table):
    temperature: float | None = Field(None, ge=0, le=100)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=0)
    min_p: float | None = Field(None, ge=0, le=1)
    typical_p: float | None = Field(None, ge=0, le=1)
    repeat_penalty: float | None = Field(None, ge=0.01, le=100)
    repeat_last_n: int | None = Field(None, ge=-1)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    seed: int | None = Field(None, ge=0, lt=1 << 32)


class ShapeTable(_Table):
    parameters: Amount
    active_parameters: Amount | None = None
    layers: int = Field(ge=1, le=MAX_LAYERS)
    embedding_length: Size
    heads: Size
    kv_heads: Size
    head_size: Size | None = None
    vocabulary: Size
    trained_context: Size


class ReplicaTable(_Table):
    base_url: str
    key_env: EnvironmentName | None = None
    weight: float = Field(1.0, gt=0, le=1e6)


class TimeoutTable(_Table):
    connect: float = Field(5.0, gt=0, le=3600)
    first_token: float = Field(300.0, gt=0, le=86_400)
    between: float = Field(60.0, gt=0, le=86_400)


class ModelTable(_Table):
    engine: Literal["openai"] | None = None
    model: str | None = Field(None, min_length=1, max_length=500)
    base_url: str | None = None
    key_env: EnvironmentName | None = None
    replicas: dict[Name, ReplicaTable] | None = Field(None, min_length=1, max_length=100)
    timeouts: TimeoutTable | None = None
    file: str | None = Field(None, min_length=1)
    repo: str | None = Field(None, pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
    pattern: str | None = Field(None, min_length=1)
    aliases: list[Name] | None = None
    kind: Literal["chat", "completion", "embedding"] | None = None
    pooling: Pooling | None = None
    context: int | None = Field(None, ge=64, le=1 << 24)
    parallel: int | None = Field(None, ge=1, le=256)
    cache_type_k: CacheType | None = None
    cache_type_v: CacheType | None = None
    gpu_layers: int | None = Field(None, ge=0, le=100_000)
    cpu_moe_layers: int | None = Field(None, ge=0, le=100_000)
    max_tokens: Count | None = None
    keep_alive: float | None = Field(None, ge=0, le=MAX_KEEP_ALIVE_SECONDS)
    pin: bool | None = None
    mmproj: str | None = Field(None, min_length=1)
    draft: str | None = Field(None, min_length=1)
    template: str | None = Field(None, min_length=1, max_length=MAX_TEMPLATE_BYTES)
    template_file: str | None = Field(None, min_length=1)
    sampling: SamplingTable | None = None
    shape: ShapeTable | None = None
    quantizations: dict[Name, Amount] | None = None
    verified: bool | None = None


_TABLES: Mapping[KeyPath, type[_Table]] = {
    (): ModelTable,
    ("sampling",): SamplingTable,
    ("shape",): ShapeTable,
    ("timeouts",): TimeoutTable,
}


def read_entry(
    document: TomlFile, name: str, table: Mapping[str, object], base: ModelSpec | None
) -> ModelSpec:
    """The model that a table describes; without `file` or `repo`, `base` with these changes.

    Relative paths start at the document's folder. Raises: ConfigInvalid, with the line.
    """
    place = ("models", name)
    try:
        entry = ModelTable.model_validate(table)
    except ValidationError as error:
        _raise_first(document, place, error)
    if not name.strip() or any(character.isspace() for character in name):
        raise document.error(place, f"the name {name!r} must be one word.")
    source = _source(document, place, entry)
    engine = _engine(document, place, name, entry)
    source = source or engine
    if source is not None:
        base = ModelSpec(name, source)
    elif base is None:
        hint = "An entry without either changes a model of the catalog, and none has that name."
        raise document.error(
            place, f"the model {name!r} needs 'file', 'repo' or 'engine'.", hint=hint
        )
    shape = _shape(entry.shape) if entry.shape else base.shape
    sampling = Sampling(**entry.sampling.model_dump()) if entry.sampling else Sampling()
    template = _template(document, place, entry)
    return replace(
        base,
        aliases=base.aliases if entry.aliases is None else tuple(entry.aliases),
        kind=entry.kind or base.kind,
        pooling=entry.pooling or base.pooling,
        context_tokens=entry.context or base.context_tokens,
        parallel=entry.parallel or base.parallel,
        cache_type_k=entry.cache_type_k or base.cache_type_k,
        cache_type_v=entry.cache_type_v or base.cache_type_v,
        gpu_layers=base.gpu_layers if entry.gpu_layers is None else entry.gpu_layers,
        cpu_moe_layers=(
            base.cpu_moe_layers if entry.cpu_moe_layers is None else entry.cpu_moe_layers
        ),
        max_tokens=entry.max_tokens or base.max_tokens,
        sampling=sampling.over(base.sampling),
        chat_template=template or base.chat_template,
        keep_alive_seconds=base.keep_alive_seconds
        if entry.keep_alive is None
        else entry.keep_alive,
        pin=base.pin if entry.pin is None else entry.pin,
        projector=_projector(document, place, entry) or base.projector,
        draft=_draft(document, place, entry) or base.draft,
        shape=shape,
        quantizations=entry.quantizations or base.quantizations,
        verified=base.verified if entry.verified is None else entry.verified,
    )


def first_mistake(
    document: TomlFile, place: KeyPath, error: ValidationError
) -> tuple[ErrorDetails, KeyPath]:
    """Of what pydantic found in the table at `place`, what stands first, and its keys there."""
    first = min(
        error.errors(include_url=False),
        key=lambda found: document.line(*place, *map(str, found["loc"])),
    )
    return first, tuple(part for part in first["loc"] if isinstance(part, str))


def _raise_first(document: TomlFile, place: KeyPath, error: ValidationError) -> NoReturn:
    """Raise the first error that pydantic found as one that names the line."""
    first, keys = first_mistake(document, place, error)
    dotted = ".".join(keys)
    if first["type"] == "extra_forbidden":
        table = ReplicaTable if keys[0] == "replicas" and len(keys) > 1 else _TABLES[keys[:-1]]
        known = list(table.model_fields)
        raise document.unknown_key((*place, *keys), known) from None
    if first["type"] == "missing":
        raise document.error((*place, *keys), f"the key {dotted!r} is missing.") from None
    if first["type"] in ("model_type", "dict_type"):
        problem = f"{dotted!r} must be a table of its own keys."
    else:
        problem = f"{dotted} is {first['input']!r}: {first['msg'].lower()}."
    raise document.error((*place, *keys), problem) from None


def _source(document: TomlFile, place: KeyPath, entry: ModelTable) -> ModelSource | None:
    if entry.engine is not None and (entry.file or entry.repo):
        problem = "a model of another server has neither 'file' nor 'repo'."
        raise document.error((*place, "engine"), problem)
    if entry.file is not None and entry.repo is not None:
        raise document.error((*place, "repo"), "give either 'file' or 'repo', not both.")
    if entry.pattern is not None and entry.repo is None:
        raise document.error((*place, "pattern"), "'pattern' needs 'repo'.")
    if entry.file is not None:
        return LocalFile(_path(document, entry.file))
    return HubFile(entry.repo, entry.pattern) if entry.repo is not None else None


def _engine(
    document: TomlFile, place: KeyPath, name: str, entry: ModelTable
) -> RemoteEngine | None:
    if entry.engine is None:
        for key in REMOTE_KEYS:
            if getattr(entry, key) is not None:
                problem = f'{key!r} is for models of other servers: it needs engine = "openai".'
                raise document.error((*place, key), problem)
        return None
    if (entry.base_url is None) == (entry.replicas is None):
        problem = "an engine needs either 'base_url' or a table 'replicas'."
        raise document.error((*place, "engine"), problem)
    timeouts = entry.timeouts or TimeoutTable.model_validate({})
    return RemoteEngine(
        model=entry.model or name,
        replicas=tuple(_replicas(document, place, entry)),
        connect_seconds=timeouts.connect,
        first_token_seconds=timeouts.first_token,
        between_seconds=timeouts.between,
    )


def _replicas(document: TomlFile, place: KeyPath, entry: ModelTable) -> Iterator[Replica]:
    if entry.base_url is not None:
        yield Replica(_address(document, (*place, "base_url"), entry.base_url), entry.key_env)
    for key, one in (entry.replicas or {}).items():
        url = _address(document, (*place, "replicas", key, "base_url"), one.base_url)
        yield Replica(url, one.key_env or entry.key_env, one.weight)


def _address(document: TomlFile, place: KeyPath, text: str) -> str:
    """An address without the slash at its end. Raises: ConfigInvalid."""
    try:
        parts = urlsplit(text)
        well = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        well = False
    if not well or parts.query or parts.fragment or parts.username or parts.password:
        raise document.error(
            place,
            f"{text!r} is no address of an engine.",
            hint="Write it as 'http://HOST:PORT/v1'; its key is named by key_env.",
        )
    return text.rstrip("/")


def _path(document: TomlFile, text: str) -> Path:
    return (document.path.parent / os.path.expanduser(text)).absolute()


def _projector(document: TomlFile, place: KeyPath, entry: ModelTable) -> Path | None:
    if entry.mmproj is None:
        return None
    path = _path(document, entry.mmproj)
    if not path.is_file():
        raise document.error((*place, "mmproj"), f"the projector {path} does not exist.")
    return path


def _draft(document: TomlFile, place: KeyPath, entry: ModelTable) -> str | None:
    """The path of a file; a name as it stands, which is looked up when all entries are read."""
    if entry.draft is None or not is_path(entry.draft):
        return entry.draft
    path = _path(document, entry.draft)
    if not path.is_file():
        raise document.error((*place, "draft"), f"the draft model {path} does not exist.")
    return str(path)


def _shape(table: ShapeTable) -> Shape:
    return Shape(
        parameters=table.parameters,
        active_parameters=table.active_parameters or table.parameters,
        layers=table.layers,
        embedding_length=table.embedding_length,
        heads=table.heads,
        kv_heads=table.kv_heads,
        head_size=table.head_size or table.embedding_length // table.heads,
        vocabulary=table.vocabulary,
        trained_context_tokens=table.trained_context,
    )


def _template(document: TomlFile, place: KeyPath, entry: ModelTable) -> str | None:
    if entry.template_file is None:
        return entry.template
    where = (*place, "template_file")
    if entry.template is not None:
        raise document.error(where, "give either 'template' or 'template_file', not both.")
    path = _path(document, entry.template_file)
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_TEMPLATE_BYTES + 1)
        text = content.decode("utf-8")
    except OSError as error:
        problem = f"the template {path} cannot be read: {error.strerror or error}."
        raise document.error(where, problem) from error
    except UnicodeDecodeError as error:
        raise document.error(where, f"the template {path} is not UTF-8 text.") from error
    if not text.strip() or len(content) > MAX_TEMPLATE_BYTES:
        problem = f"the template {path} has {len(content)} bytes; 1 to {MAX_TEMPLATE_BYTES} may be."
        raise document.error(where, problem)
    return text
