"""What the library costs anybody's training: a GPT-2 with lca.AdamW against torch.optim.AdamW.

The step alone and whole updates (forward, backward, clipping, step) of a small GPT-2 of
Hugging Face's `transformers` on random tokens, on the card if there is one. The variants take
turns, so that a machine that slows down slows all of them. Memory is the peak of a process of its
own; on a card, of its allocator. Prints a Markdown table.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from statistics import median

import torch
from torch import nn

WARM_UP = 3  # updates, which make the moments and compile
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SIZES = {"cpu": (256, 4, 8000, 8, 64), "cuda": (768, 12, 50257, 16, 512)}
"""Width, layers, vocabulary, sequences and their length."""


class Training:
    """A model, and an optimizer made by `make(model)`."""

    def __init__(self, make: Callable[[nn.Module], torch.optim.Optimizer]) -> None:
        from tests.support.hugging_face import hf  # transformers, made importable

        width, layers, vocabulary, sequences, length = SIZES[DEVICE]
        settings = dict(n_embd=width, n_layer=layers, n_head=width // 64, vocab_size=vocabulary)
        config = hf.GPT2Config(**settings, n_positions=length)
        torch.manual_seed(0)
        self.model = hf.GPT2LMHeadModel(config).to(DEVICE)
        self.batch = torch.randint(vocabulary, (sequences, length), device=DEVICE)
        self.optimizer = make(self.model)

    def times(self) -> tuple[float, float]:
        """Return the seconds of an update, and of the step in it."""
        start = _now()
        self.optimizer.zero_grad()
        self.model(input_ids=self.batch, labels=self.batch).loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        before_step = _now()
        self.optimizer.step()
        end = _now()
        return end - start, end - before_step


def _now() -> float:
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def _plain(**settings) -> Callable:
    return lambda model: torch.optim.AdamW(model.parameters(), **settings)


def _attached(model: nn.Module) -> torch.optim.Optimizer:
    import lca

    optimizer = lca.AdamW(model.parameters())
    optimizer.attach(model)
    return optimizer


def _recorded(model: nn.Module) -> torch.optim.Optimizer:
    """Return one whose steps are recorded, without measurements on a sample."""
    import lca

    optimizer = lca.AdamW(model.parameters())
    lca.Recording(model, optimizer, tempfile.mkdtemp())
    return optimizer


VARIANTS = {
    "torch.optim.AdamW": _plain(),
    "torch.optim.AdamW, fused": _plain(fused=True),
    "lca.AdamW": _attached,
    "lca.AdamW, recorded": _recorded,
}


def peak_memory(name: str) -> int:
    """Return the peak memory in bytes of a process that makes three updates."""
    command = [sys.executable, "-W", "ignore", "-m", "bench.gpt2", "--peak", name]
    return int(subprocess.run(command, capture_output=True, check=True).stdout.split()[-1])


def main() -> None:
    """Print the table, or with `--peak` the peak memory of this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="updates timed of each variant")
    parser.add_argument("--peak", choices=VARIANTS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.peak:
        training = Training(VARIANTS[arguments.peak])
        for _ in range(3):
            training.times()
        on_cpu = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(torch.cuda.max_memory_allocated() if DEVICE == "cuda" else on_cpu)
        return
    # Memory first: a process starts with the peak of the one that it was forked from.
    memory = {name: peak_memory(name) for name in VARIANTS}
    trainings = {name: Training(make) for name, make in VARIANTS.items()}
    measured = {name: [] for name in trainings}
    for repeat in range(WARM_UP + arguments.repeats):
        for name, training in trainings.items():
            times = training.times()
            if repeat >= WARM_UP:
                measured[name].append(times)
    base = next(iter(VARIANTS))
    size = sum(p.numel() for p in trainings[base].model.parameters())
    print(f"GPT-2 with {size / 1e6:.0f}M parameters, on {DEVICE}\n")
    print("| GPT-2 | step, ms | update, ms | ratio of updates | peak memory beyond it, MB |")
    print("|---|---|---|---|---|")
    medians = {
        name: [median(part) for part in zip(*all_, strict=True)] for name, all_ in measured.items()
    }
    for name, (update, step) in medians.items():
        ratio, extra = update / medians[base][0], (memory[name] - memory[base]) / 1e6
        print(f"| {name} | {1e3 * step:.1f} | {1e3 * update:.1f} | {ratio:.3f} | {extra:+.0f} |")


if __name__ == "__main__":
    main()
