"""Train the small model that ships inside the package and write it as GGUF.

It composes its training text by seed (``builtin_model.data``), trains a byte-level BPE
vocabulary and a Llama-shaped network of a few million weights on it, and writes both into one
Q8_0 file. It is a stand-in that makes a fresh install answer, call tools and fill code in tests
and demonstrations; it is not a general language model, and nothing is downloaded for it.
"""

from __future__ import annotations

import argparse
import functools
import os
import random
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import torch
    from builtin_model.batches import Batch, Batches, Piece, load
    from builtin_model.data import DEFAULT_MIX, MAKERS, draw_samples
    from builtin_model.gguf import read_weights, write_gguf
    from builtin_model.network import Network, Shape
    from builtin_model.optimizer import Muon
    from builtin_model.text import Codec, train_tokenizer
    from torch import Tensor, distributed
    from torch.nn import functional
except ModuleNotFoundError as missing:
    sys.exit(
        f"error: the package {missing.name} is missing. In the repository's folder:"
        " pip install --group pyproject.toml:train"
    )

REPOSITORY = Path(__file__).resolve().parent.parent


TASKS = tuple(MAKERS)
"""Their places are the numbers of the tasks in a batch."""


def losses_of(network: Network, batch: Batch) -> Tensor:
    """The loss of every token to be learned; in bfloat16 on a GPU, which has units for it.

    The last product is left in more precision: there the words are told apart.
    """
    kind = batch.tokens.device.type
    with torch.autocast(kind, dtype=torch.bfloat16, enabled=kind != "cpu"):
        states = network.hidden(batch.tokens, batch.positions, batch.mask())
    wanted = states.reshape(-1, states.shape[-1])[batch.places].float()
    scores = functional.linear(wanted, network.token_embd.weight)
    return functional.cross_entropy(scores, batch.targets, reduction="none")


class Trainer:
    """Network, optimizers, averaged weights and where training stands."""

    def __init__(self, options: argparse.Namespace, codec: Codec) -> None:
        self.options, self.codec = options, codec
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if self.device.type == "cuda":
            torch.set_float32_matmul_precision("high")
            torch.backends.cuda.enable_cudnn_sdp(False)  # slow to begin, unsure with masks
        shape = Shape(codec.size, options.width, options.layers, options.width // 64, options.inner)
        self.network = Network(shape, codec.spaced()).to(self.device)
        if options.compile:
            self.network.hidden = torch.compile(self.network.hidden)  # type: ignore[method-assign]
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.kept = self.network.prepared() if options.keep_circuit else {}
        self.note_start()
        named = [(n, p) for n, p in self.network.named_parameters() if p.requires_grad]
        matrices = [p for n, p in named if p.ndim == 2 and "embd" not in n]
        norms = [p for n, p in named if p.ndim == 1]
        embedding = self.network.token_embd.weight
        self.rates = [options.rate, options.rate / 5, options.rate / 5]
        adam = {"betas": (0.9, 0.98), "weight_decay": 0.0}
        self.optimizers: list[torch.optim.Optimizer] = [
            Muon(matrices, lr=self.rates[0]),
            torch.optim.AdamW(norms, lr=self.rates[1], **adam),
            torch.optim.AdamW([embedding], lr=self.rates[2], **adam),
        ]
        self.step, self.seconds, self.seen = 0, 0.0, 0
        self.sums, self.counts = torch.zeros(2, len(TASKS), device=self.device)

    def note_start(self) -> None:
        """Remember the weights that training must leave alone."""
        self.start = {parameter: parameter.detach().clone() for parameter in self.kept}

    def progress(self) -> float:
        """Share of the planned training that is done, by the first process's clock."""
        if self.options.steps:
            return min(1.0, self.step / self.options.steps)
        seconds = torch.tensor(self.seconds)
        if distributed.is_initialized():
            distributed.broadcast(seconds, 0)
        return min(1.0, float(seconds) / (60 * self.options.minutes))

    def update(self, batch: Batch, done: float) -> None:
        """One step of the optimizers; ``done`` is the share of training that lies behind.

        Nothing here reads a result, so that a GPU never waits for the next step to be asked for.
        """
        scale = min(1.0, (self.step + 1) / 60) * min(1.0, (1.0 - done) / self.options.decay + 1e-3)
        batch = batch.to(self.device)
        losses = losses_of(self.network, batch)
        losses.mean().backward()
        self.sums.index_add_(0, batch.tasks, losses.detach())
        self.counts.index_add_(0, batch.tasks, torch.ones_like(losses))
        self.note_words(batch)
        self.share_gradients()
        with self.unseen_words_kept():
            for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
                for group in optimizer.param_groups:
                    group["lr"] = rate * scale
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            for parameter, mask in self.kept.items():
                parameter.copy_(torch.where(mask, self.start[parameter], parameter))
        keep = min(0.997, self.step / (self.step + 20))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)
        self.step += 1
        self.seen += batch.tokens.numel()

    def losses(self) -> dict[str, float]:
        """Mean loss of a token of each task since this was last asked."""
        rows = zip(TASKS, self.sums.tolist(), self.counts.tolist(), strict=True)
        means = {task: total / count for task, total, count in rows if count}
        self.sums.zero_()
        self.counts.zero_()
        return dict(sorted(means.items()))

    def note_words(self, batch: Batch) -> None:
        """Which tokens the batch has, in any of the processes."""
        seen = torch.zeros(self.codec.size, device=self.device)
        seen.index_fill_(0, batch.tokens.flatten(), 1.0)
        if distributed.is_initialized():
            distributed.all_reduce(seen)
        self.seen_words = seen > 0

    @contextmanager
    def unseen_words_kept(self) -> Iterator[None]:
        """Leave the embeddings of tokens alone that are not in the batch.

        All they would learn is not to be said, and AdamW makes a large step of the smallest
        gradient: rare words would all become alike, and could not be told apart when copied.
        """
        embedding = self.network.token_embd.weight
        before = embedding.detach().clone()
        yield
        with torch.no_grad():
            embedding.copy_(torch.where(self.seen_words[:, None], embedding, before))

    def share_gradients(self) -> None:
        """Give all processes the mean of their gradients."""
        if not distributed.is_initialized():
            return
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(flat)
        parts = flat.div_(distributed.get_world_size()).split([g.numel() for g in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def save(self, folder: Path) -> None:
        """Write a checkpoint and the GGUF of the averaged weights beside it."""
        state = {
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizers": [o.state_dict() for o in self.optimizers],
            "step": self.step,
            "seconds": self.seconds,
            "seen": self.seen,
        }
        torch.save(state, folder / "checkpoint.tmp")
        os.replace(folder / "checkpoint.tmp", folder / "checkpoint.pt")
        write_gguf(folder / "model.gguf", self.average, self.network.shape, self.codec)

    def load(self, folder: Path) -> None:
        """Go on from the checkpoint."""
        state = torch.load(folder / "checkpoint.pt", map_location=self.device)
        self.network.load_state_dict(state["network"])
        self.note_start()
        self.average = state["average"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.seconds, self.seen = state["step"], state["seconds"], state["seen"]

    def begin_with(self, path: Path) -> None:
        """Begin a training of its own with a GGUF file, or a checkpoint's averaged weights."""
        if path.suffix == ".gguf":
            weights = read_weights(path)
        else:
            weights = torch.load(path, map_location=self.device)["average"]
        self.average = {name: value.to(self.device) for name, value in weights.items()}
        self.network.load_state_dict(self.average)
        self.note_start()


def read_mix(text: str) -> dict[str, float]:
    """The shares of the tasks, with changes of the form ``task=share,task=share``."""
    mix = dict(DEFAULT_MIX)
    for part in filter(None, text.split(",")):
        name, _, share = part.partition("=")
        mix[name] = float(share)
    return mix


def pieces(codec: Codec, mix: dict[str, float], length: int, seed: int) -> Iterator[Piece]:
    """Tokenized samples that fit into a row."""
    for task, sample in draw_samples(seed, mix):
        tokens, learned = codec.encode_sample(sample)
        if len(tokens) <= length:
            yield Piece(TASKS.index(task), tokens, learned)


def batches(trainer: Trainer, rank: int) -> Iterator[Batch]:
    """The batches of one of the processes that train together."""
    options = trainer.options
    stream = functools.partial(pieces, trainer.codec, read_mix(options.mix), options.length)
    seed = (options.seed * 1000 + rank) * 1000003 + trainer.step
    made = Batches(stream, seed, options.rows, options.length)
    on_gpu = trainer.device.type == "cuda"
    workers = options.workers
    if workers is None:
        workers = max(1, (os.cpu_count() or 2) - 1) if on_gpu else 0
    return load(made, workers, pinned=on_gpu)


def train(trainer: Trainer, folder: Path, rank: int) -> None:
    """The training loop, with a progress line and a checkpoint every few minutes."""
    options = trainer.options
    stream = batches(trainer, rank)
    saved = time.monotonic()
    while (done := trainer.progress()) < 1.0:
        begun = time.monotonic()
        trainer.update(next(stream), done)
        trainer.seconds += time.monotonic() - begun
        if rank > 0:
            continue
        if trainer.step % 100 == 0:
            table = "  ".join(f"{task} {loss:.3f}" for task, loss in trainer.losses().items())
            print(
                f"step {trainer.step}  {done:6.1%}  {trainer.seen / 1e6:.2f} M tokens"
                f"  {trainer.seen / max(trainer.seconds, 1e-9):.0f}/s  {table}",
                flush=True,
            )
        if time.monotonic() - saved > 60 * options.save_minutes:
            trainer.save(folder)
            saved = time.monotonic()
    if rank == 0:
        trainer.save(folder)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=100, help="training time")
    parser.add_argument("--steps", type=int, default=0, help="updates, instead of --minutes")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint")
    parser.add_argument(
        "--weights",
        type=Path,
        help="begin with the averaged weights of this checkpoint, or with this GGUF file, of a"
        " network of the same shape (with the --tokenizer of that)",
    )
    parser.add_argument(
        "--tokenizer", type=Path, help="take this vocabulary (a tokenizer.json), train none"
    )
    parser.add_argument(
        "--folder", type=Path, default=Path("build/builtin-model"), help="where checkpoints go"
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=REPOSITORY / "localserve" / "catalog" / "builtin.gguf",
        help="the GGUF file to write at the end",
    )
    parser.add_argument("--seed", type=int, default=7, help="seed of weights and text")
    parser.add_argument("--processes", type=int, default=2, help="processes that train together")
    parser.add_argument("--threads", type=int, default=1, help="threads of each process")
    parser.add_argument(
        "--workers",
        type=int,
        help="processes that compose text for each training process (with a GPU all cores but"
        " one, else none: it composes its own)",
    )
    parser.add_argument(
        "--vocabulary", type=int, default=2200, help="tokens before words get a twin with a space"
    )
    parser.add_argument("--width", type=int, default=256, help="width of the network")
    parser.add_argument("--layers", type=int, default=5, help="layers of the network")
    parser.add_argument("--inner", type=int, default=512, help="width of the feed-forward part")
    parser.add_argument("--rows", type=int, default=3, help="rows of a batch, in each process")
    parser.add_argument("--length", type=int, default=320, help="tokens of a row")
    parser.add_argument("--rate", type=float, default=0.02, help="learning rate of the matrices")
    parser.add_argument("--decay", type=float, default=0.5, help="share of training that decays")
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compile the network (a minute at the start, a third faster)",
    )
    parser.add_argument(
        "--keep-circuit",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="leave the circuit that copies as it starts",
    )
    parser.add_argument("--mix", default="", help="changed shares, as task=share,task=share")
    parser.add_argument("--save-minutes", type=float, default=3, help="time between checkpoints")
    return parser.parse_args()


def work(rank: int, options: argparse.Namespace) -> None:
    """One of the processes that train together: each has texts of its own, all the same weights."""
    torch.set_num_threads(options.threads)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    if options.processes > 1:
        store = distributed.FileStore(str(options.folder / "meeting"), options.processes)
        distributed.init_process_group("gloo", store=store, rank=rank, world_size=options.processes)
    trainer = Trainer(options, Codec(options.folder / "tokenizer.json"))
    if options.resume:
        trainer.load(options.folder)
    elif options.weights:
        trainer.begin_with(options.weights)
    if rank == 0:
        weights = sum(p.numel() for p in trainer.network.parameters())
        print(f"{weights / 1e6:.2f} M weights, vocabulary {trainer.codec.size}", flush=True)
    train(trainer, options.folder, rank)


def main() -> None:
    """Make the vocabulary, train, and write the model file."""
    options = arguments()
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "meeting").unlink(missing_ok=True)
    vocabulary = options.folder / "tokenizer.json"
    if options.tokenizer:
        shutil.copyfile(options.tokenizer, vocabulary)
    elif not (options.resume and vocabulary.exists()):
        train_tokenizer(vocabulary, options.vocabulary, options.seed)
    if options.processes > 1:
        torch.multiprocessing.spawn(work, (options,), nprocs=options.processes)
    else:
        work(0, options)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    partial = options.output.with_suffix(".partial")
    partial.write_bytes((options.folder / "model.gguf").read_bytes())
    os.replace(partial, options.output)
    print(f"wrote {options.output} ({options.output.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
