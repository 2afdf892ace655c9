"""Train the small model that ships inside the package and write it as GGUF.

It composes its training text by seed (``builtin_model.data``), trains a byte-level BPE
vocabulary and a Llama-shaped network of a few million weights on it, and writes both into one
Q8_0 file. It is a stand-in that makes a fresh install answer, call tools and fill code in tests
and demonstrations; it is not a general language model, and nothing is downloaded for it.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import torch
    from builtin_model.batches import Batch, Piece, pack
    from builtin_model.data import DEFAULT_MIX, draw_samples
    from builtin_model.gguf import write_gguf
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


def losses_of(network: Network, batch: Batch, device: torch.device) -> Tensor:
    """The loss of every token to be learned; in bfloat16 on a GPU, which has units for it."""
    with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type != "cpu"):
        states = network.hidden(
            batch.tokens.to(device), batch.positions.to(device), batch.mask.to(device)
        )
        wanted = states.reshape(-1, states.shape[-1])[batch.places.to(device)]
        scores = functional.linear(wanted, network.token_embd.weight)
    return functional.cross_entropy(scores.float(), batch.targets.to(device), reduction="none")


class Trainer:
    """Network, optimizers, averaged weights and where training stands."""

    def __init__(self, options: argparse.Namespace, codec: Codec) -> None:
        self.options, self.codec = options, codec
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        shape = Shape(codec.size, options.width, options.layers, options.width // 64, options.inner)
        self.network = Network(shape, codec.spaced()).to(self.device)
        if options.compile:
            self.network.hidden = torch.compile(self.network.hidden)  # type: ignore[method-assign]
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        self.kept = self.network.prepared()
        self.start = {parameter: parameter.detach().clone() for parameter in self.kept}
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

    def progress(self) -> float:
        """Share of the planned training that is done, by the first process's clock."""
        if self.options.steps:
            return min(1.0, self.step / self.options.steps)
        seconds = torch.tensor(self.seconds)
        if distributed.is_initialized():
            distributed.broadcast(seconds, 0)
        return min(1.0, float(seconds) / (60 * self.options.minutes))

    def update(self, batch: Batch, done: float) -> Tensor:
        """One step of the optimizers; ``done`` is the share of training that lies behind."""
        scale = min(1.0, (self.step + 1) / 60) * min(1.0, (1.0 - done) / self.options.decay + 1e-3)
        losses = losses_of(self.network, batch, self.device)
        losses.mean().backward()
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
                parameter[mask] = self.start[parameter][mask]
        keep = min(0.997, self.step / (self.step + 20))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)
        self.step += 1
        self.seen += batch.tokens.numel()
        return losses.detach()

    def note_words(self, batch: Batch) -> None:
        """Which tokens the batch has, in any of the processes."""
        seen = torch.zeros(self.codec.size, device=self.device)
        seen[batch.tokens.flatten().to(self.device)] = 1.0
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
            embedding[~self.seen_words] = before[~self.seen_words]

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
        self.average = state["average"]
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step, self.seconds, self.seen = state["step"], state["seconds"], state["seen"]


def read_mix(text: str) -> dict[str, float]:
    """The shares of the tasks, with changes of the form ``task=share,task=share``."""
    mix = dict(DEFAULT_MIX)
    for part in filter(None, text.split(",")):
        name, _, share = part.partition("=")
        mix[name] = float(share)
    return mix


def pieces(trainer: Trainer, seed: int) -> Iterator[Piece]:
    """Tokenized samples that fit into a row."""
    options, codec = trainer.options, trainer.codec
    for task, sample in draw_samples(seed, read_mix(options.mix)):
        tokens, learned = codec.encode_sample(sample)
        if len(tokens) <= options.length:
            yield Piece(task, tokens, learned)


def train(trainer: Trainer, folder: Path, rank: int) -> None:
    """The training loop, with a progress line and a checkpoint every few minutes."""
    options = trainer.options
    stream = pieces(trainer, (options.seed * 1000 + rank) * 1000003 + trainer.step)
    waiting: list[Piece] = []
    sums: defaultdict[str, float] = defaultdict(float)
    counts: Counter[str] = Counter()
    saved = time.monotonic()
    while (done := trainer.progress()) < 1.0:
        begun = time.monotonic()
        batch = pack(stream, options.rows, options.length, waiting)
        losses = trainer.update(batch, done)
        trainer.seconds += time.monotonic() - begun
        if rank > 0:
            continue
        parts = losses.split([count for _, count in batch.tasks])
        for (task, count), part in zip(batch.tasks, parts, strict=True):
            sums[task] += float(part.sum())
            counts[task] += count
        if trainer.step % 100 == 0:
            table = "  ".join(f"{task} {sums[task] / counts[task]:.3f}" for task in sorted(counts))
            print(
                f"step {trainer.step}  {done:6.1%}  {trainer.seen / 1e6:.2f} M tokens"
                f"  {trainer.seen / max(trainer.seconds, 1e-9):.0f}/s  {table}",
                flush=True,
            )
            sums.clear()
            counts.clear()
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
    parser.add_argument("--mix", default="", help="changed shares, as task=share,task=share")
    parser.add_argument("--save-minutes", type=float, default=3, help="time between checkpoints")
    return parser.parse_args()


def work(rank: int, options: argparse.Namespace) -> None:
    """One of the processes that train together: each has texts of its own, all the same weights."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    if options.processes > 1:
        store = distributed.FileStore(str(options.folder / "meeting"), options.processes)
        distributed.init_process_group("gloo", store=store, rank=rank, world_size=options.processes)
    trainer = Trainer(options, Codec(options.folder / "tokenizer.json"))
    if options.resume:
        trainer.load(options.folder)
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
    if not (options.resume and vocabulary.exists()):
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
