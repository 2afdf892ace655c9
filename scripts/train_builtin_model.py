"""Train the small model that ships inside the package and write it as GGUF.

It composes its training text by seed (``builtin_model_data``), trains a byte-level BPE
vocabulary and a Llama-shaped network of a few million weights on it, and writes both into one
Q8_0 file. It is a stand-in that makes a fresh install answer, call tools and fill code in tests
and demonstrations; it is not a general language model, and nothing is downloaded for it.
"""

from __future__ import annotations

import argparse
import os
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from builtin_model_batches import Batch, Piece, pack, repeated_tokens, spread_positions
from builtin_model_data import DEFAULT_MIX, draw_samples
from builtin_model_gguf import write_gguf
from builtin_model_network import Network, Shape
from builtin_model_text import Codec, train_tokenizer
from torch import Tensor
from torch.nn import functional

REPOSITORY = Path(__file__).resolve().parent.parent


def losses_of(network: Network, batch: Batch, device: torch.device) -> Tensor:
    """The loss of every token to be learned."""
    with torch.autocast(device.type, dtype=torch.bfloat16):
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
        shape = Shape(codec.size, options.width, options.layers, options.width // 32, options.inner)
        self.network = Network(shape).to(self.device)
        if options.compile:
            self.network.hidden = torch.compile(self.network.hidden)  # type: ignore[method-assign]
        self.average = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
        inner = [p for n, p in self.network.named_parameters() if p.ndim == 2 and "embd" not in n]
        outer = [p for n, p in self.network.named_parameters() if p.ndim == 1 or "embd" in n]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.Muon(inner, lr=options.rate, momentum=0.95, weight_decay=0.02, ns_steps=4),
            torch.optim.AdamW(outer, lr=options.rate / 7, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.rates = [options.rate, options.rate / 7]
        self.step, self.seconds, self.seen = 0, 0.0, 0

    def progress(self) -> float:
        """Share of the planned training that is done."""
        if self.options.steps:
            return min(1.0, self.step / self.options.steps)
        return min(1.0, self.seconds / (60 * self.options.minutes))

    def update(self, batch: Batch) -> Tensor:
        """One step of both optimizers."""
        done = self.progress()
        scale = min(1.0, (self.step + 1) / 60) * min(1.0, (1.0 - done) / self.options.decay + 1e-3)
        losses = losses_of(self.network, batch, self.device)
        losses.mean().backward()
        for optimizer, rate in zip(self.optimizers, self.rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * scale
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        keep = min(0.997, self.step / (self.step + 20))
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                self.average[name].lerp_(value, 1 - keep)
        self.step += 1
        self.seen += batch.tokens.numel()
        return losses.detach()

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
        write_gguf(folder / "model.gguf", self.average, asdict(self.network.shape), self.codec)

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
    """Tokenized samples that fit into a row; repetition alone in the first updates."""
    options, codec, rng = trainer.options, trainer.codec, random.Random(seed)
    samples = draw_samples(seed, read_mix(options.mix), lambda: trainer.step)
    while True:
        if trainer.step < options.repeat_steps or rng.random() < 0.15:
            yield repeated_tokens(rng, codec.size, codec.encode(" ")[0])
            continue
        task, sample = next(samples)
        tokens, learned = codec.encode_sample(sample)
        if len(tokens) <= options.length:
            gaps = 0.3 if trainer.progress() > options.gaps_from else 0.0
            yield Piece(task, tokens, learned, spread_positions(rng, len(tokens), gaps))


def train(trainer: Trainer, folder: Path) -> None:
    """The training loop, with a progress line and a checkpoint every few minutes."""
    options = trainer.options
    seed = options.seed * 1000003 + trainer.step
    stream = pieces(trainer, seed)
    waiting: list[Piece] = []
    sums: defaultdict[str, float] = defaultdict(float)
    counts: Counter[str] = Counter()
    saved = time.monotonic()
    while trainer.progress() < 1.0:
        begun = time.monotonic()
        batch = pack(stream, options.rows, options.length, waiting)
        losses = trainer.update(batch)
        trainer.seconds += time.monotonic() - begun
        parts = losses.split([count for _, count in batch.tasks])
        for (task, count), part in zip(batch.tasks, parts, strict=True):
            sums[task] += float(part.sum())
            counts[task] += count
        if trainer.step % 100 == 0:
            table = "  ".join(f"{task} {sums[task] / counts[task]:.3f}" for task in sorted(counts))
            print(
                f"step {trainer.step}  {trainer.progress():6.1%}  {trainer.seen / 1e6:.2f} M tokens"
                f"  {trainer.seen / max(trainer.seconds, 1e-9):.0f}/s  {table}",
                flush=True,
            )
            sums.clear()
            counts.clear()
        if time.monotonic() - saved > 60 * options.save_minutes:
            trainer.save(folder)
            saved = time.monotonic()
    trainer.save(folder)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=80, help="training time")
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
    parser.add_argument("--threads", type=int, default=2, help="processor threads")
    parser.add_argument("--vocabulary", type=int, default=2048, help="vocabulary size")
    parser.add_argument("--width", type=int, default=192, help="width of the network")
    parser.add_argument("--layers", type=int, default=5, help="layers of the network")
    parser.add_argument("--inner", type=int, default=512, help="width of the feed-forward part")
    parser.add_argument("--rows", type=int, default=6, help="rows of a batch")
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
        "--repeat-steps",
        type=int,
        default=260,
        help="updates on repeated tokens alone at the start",
    )
    parser.add_argument(
        "--gaps-from",
        type=float,
        default=0.6,
        help="share of training after which positions get gaps",
    )
    parser.add_argument("--mix", default="", help="changed shares, as task=share,task=share")
    parser.add_argument("--save-minutes", type=float, default=3, help="time between checkpoints")
    return parser.parse_args()


def main() -> None:
    """Make the vocabulary, train, and write the model file."""
    options = arguments()
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    random.seed(options.seed)
    options.folder.mkdir(parents=True, exist_ok=True)
    vocabulary = options.folder / "tokenizer.json"
    if not (options.resume and vocabulary.exists()):
        train_tokenizer(vocabulary, options.vocabulary, options.seed)
    trainer = Trainer(options, Codec(vocabulary))
    if options.resume:
        trainer.load(options.folder)
    weights = sum(p.numel() for p in trainer.network.parameters())
    print(f"{weights / 1e6:.2f} M weights, vocabulary {trainer.codec.size}", flush=True)
    train(trainer, options.folder)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    partial = options.output.with_suffix(".partial")
    partial.write_bytes((options.folder / "model.gguf").read_bytes())
    os.replace(partial, options.output)
    print(f"wrote {options.output} ({options.output.stat().st_size} bytes)")


if __name__ == "__main__":
    main()
