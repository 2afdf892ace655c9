"""The headers of a model's files -> GgufFacts: what the model is and what its weights take.

Knows nothing of where the files are, and judges nothing but whether they belong together. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from localserve.errors import ModelMalformed
from localserve.gguf.header import Header, Tensor
from localserve.gguf.hyperparameters import Hyperparameters, read_hyperparameters
from localserve.gguf.metadata import Metadata
from localserve.gguf.tokenizer import Tokenizer, read_tokenizer
from localserve.gguf.types import FILE_TYPES


@dataclass(frozen=True, slots=True)
class GgufFacts:
    """What the files of one model say.

    `parameters` counts all weights, `weights_bytes` what their tensors take, `size_bytes` the
    whole files. `file_type` is `general.file_type` by name (None: not said or not known). `kind`
    is `general.type` ("model", "adapter", "mmproj", ...).
    """

    file: str
    architecture: str
    name: str | None
    kind: str
    parameters: int
    weights_bytes: int
    size_bytes: int
    bytes_by_type: Mapping[str, int]
    file_type: str | None
    tensors: tuple[Tensor, ...]
    hyperparameters: Hyperparameters
    tokenizer: Tokenizer
    metadata: Metadata = field(repr=False)
    _by_name: Mapping[str, Tensor] = field(repr=False, compare=False)

    @property
    def quantization(self) -> str:
        """How most weights are stored: the file's own word, else the type with the most bytes."""
        if self.file_type is not None or not self.bytes_by_type:
            return self.file_type or "none"
        return max(self.bytes_by_type, key=self.bytes_by_type.__getitem__)

    @property
    def tied_embeddings(self) -> bool:
        """Whether the output layer is the input embedding, which a GPU then holds a copy of."""
        return "token_embd.weight" in self._by_name and "output.weight" not in self._by_name

    def tensor(self, name: str) -> Tensor | None:
        """The tensor of that name."""
        return self._by_name.get(name)


def merge_files(headers: Sequence[Header]) -> GgufFacts:
    """The facts of a model whose files have these headers, in any order.

    Raises: ModelMalformed, which names the shards that are missing, there twice, or of another
    model; and what has the wrong type in the metadata.
    """
    shards = in_order(headers)
    first = shards[0]
    by_name: dict[str, Tensor] = {}
    for shard in shards:
        for tensor in shard.tensors:
            if tensor.name in by_name:
                problem = f"{shard.name}: the tensor {tensor.name} is in an earlier shard too."
                raise ModelMalformed(problem, hint="Download all shards of one model again.")
            by_name[tensor.name] = tensor
    _check_tensor_count(first, len(by_name))
    metadata = first.metadata
    architecture = metadata.text("general.architecture") or ""
    bytes_by_type: Counter[str] = Counter()
    for tensor in by_name.values():
        bytes_by_type[tensor.type.name] += tensor.size_bytes
    return GgufFacts(
        file=first.name,
        architecture=architecture,
        name=metadata.text("general.name"),
        kind=metadata.text("general.type") or "model",
        parameters=sum(tensor.elements for tensor in by_name.values()),
        weights_bytes=bytes_by_type.total(),
        size_bytes=sum(shard.size_bytes for shard in shards),
        bytes_by_type=dict(bytes_by_type.most_common()),
        file_type=FILE_TYPES.get(metadata.integer("general.file_type") or 0)
        if "general.file_type" in metadata
        else None,
        tensors=tuple(by_name.values()),
        hyperparameters=read_hyperparameters(metadata, architecture),
        tokenizer=read_tokenizer(metadata),
        metadata=metadata,
        _by_name=by_name,
    )


def split_count(header: Header) -> int:
    """How many files the model has that this file is part of."""
    return max(header.metadata.integer("split.count") or 1, 1)


def in_order(headers: Sequence[Header]) -> list[Header]:
    """The headers of one model's files, first shard first.

    Raises: ModelMalformed, where shards are missing, there twice, or of another model.
    """
    if not headers:
        raise ValueError("a model has at least one file")
    counts = {split_count(header) for header in headers}
    if len(counts) > 1:
        listed = ", ".join(f"{header.name} of {split_count(header)}" for header in headers[:8])
        raise ModelMalformed(
            f"{headers[0].name}: its shards are of different models: {listed}.",
            hint="Download all shards of one model again.",
        )
    count = counts.pop()
    found: dict[int, Header] = {}
    for header in headers:
        number = header.metadata.integer("split.no") or 0
        if number >= count or number in found:
            why = "is there twice" if number in found else f"cannot be: there are {count}"
            raise ModelMalformed(
                f"{header.name}: its shard number {number + 1} {why}.",
                hint="Download all shards of one model again.",
            )
        found[number] = header
    missing = [number + 1 for number in range(min(count, 10_000)) if number not in found]
    if missing:
        listed = ", ".join(map(str, missing[:8])) + (" and more" if len(missing) > 8 else "")
        raise ModelMalformed(
            f"{headers[0].name}: the model is split into {count} files; missing: {listed}.",
            hint="Put all of them into one folder.",
        )
    return [found[number] for number in sorted(found)]


def _check_tensor_count(first: Header, found: int) -> None:
    expected = first.metadata.integer("split.tensors.count")
    if split_count(first) > 1 and expected is not None and expected != found:
        raise ModelMalformed(
            f"{first.name}: the shards should have {expected} tensors and have {found}.",
            hint="Download all shards of one model again.",
        )
