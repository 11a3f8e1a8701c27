"""What LCA costs a whole training: throughput against plain fairseq, on the CPU and on a card.

fairseq's own Trainer makes the same updates of random text with and without LCA, one variant after
the other, so that a machine that slows down slows all of them. On the CPU the models are half as
wide as the paper's; on a card, where there is one, they and their batches are the paper's, and
memory is measured too. Prints Markdown tables of ratios of medians: without the trapezoid, and with
it, for which one update of many ends a stride. Probes are not among the updates.
"""

import argparse
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

from closer_look.vocabulary import OBJECTIVES

VARIANTS = {"plain": "adam", "LCA": "lca_adam", "LCA, strides": "lca_adam"}
"""Their optimizers; in the last, every update ends a stride."""

EVERY, SHARE = 64, 1 / 4
"""Of so many updates one ends a stride in the paper's experiment, on this share of its tokens."""

SENTENCE = 32  # tokens, with its end
WARM_UP = 2  # updates, which make the moments and compile


class Setup(NamedTuple):
    """What is trained on a device, and how."""

    width: int
    vocabulary: int
    sample: int
    """Tokens of a language model's sample."""
    micro_batch: int
    """Tokens."""
    micro_batches: int
    options: tuple[str, ...]
    """Of the device."""
    precision: tuple[str, ...] = ()
    """As a setting: of bf16, fairseq's parser in this process concludes that there are TPUs."""


CPU = Setup(256, 8000, SENTENCE, 1024, 2, ("--cpu",))
CARD = {
    ", fp16": Setup(512, 32000, 512, 2048, 16, (), ("fp16",)),
    ", bf16": Setup(512, 32000, 512, 2048, 16, (), ("bf16",)),
    ", fp16, 2 micro-batches": Setup(512, 32000, 512, 16384, 2, (), ("fp16",)),
}
"""The paper's (appendix A), in its 16 micro-batches and as few as a large card needs."""


class Cost(NamedTuple):
    """What an update of a variant takes."""

    seconds: float
    """Median."""
    megabytes: float
    """On the card at its peak; 0 on the CPU."""


def start_variant(name: str, objective: str, setup: Setup, data: Path, folder: Path) -> tuple:
    """Return the trainer of a variant, and the batches of its updates."""
    from closer_look.training.fairseq_options import architecture
    from tests.support.trainers import start

    sizes = {"embed_dim": setup.width, "ffn_dim": 4 * setup.width}
    model = architecture(objective, {"layers": 12, "heads": 8, **sizes})
    options = [f"--{option}={value}" for option, value in model.items()]
    sample = SENTENCE if objective == "mt" else setup.sample
    options += [] if objective == "mt" else [f"--tokens-per-sample={sample}"]
    options += [f"--batch-size={setup.micro_batch // sample}", "--dropout=0.1"]
    options += [f"--update-freq={setup.micro_batches}"]
    if "strides" in name:
        tokens = round(SHARE * setup.micro_batch * setup.micro_batches)
        options += ["--lca-trapezoid-every=1", f"--lca-trapezoid-tokens={tokens}"]
    # With random text a larger loss scale overflows, and those updates would be none.
    options += ["--fp16-init-scale=1"] if "fp16" in setup.precision else []
    kind = {"optimizer": VARIANTS[name], "on": setup.options, "common": setup.precision}
    return start(data, folder / name, objective, *options, **kind)


def costs(objective: str, setup: Setup, data: Path, folder: Path, repeats: int) -> dict[str, Cost]:
    """Return what every variant costs."""
    trainers, resting = {}, {}
    for name in VARIANTS:
        before = torch.cuda.memory_allocated()
        trainers[name], batches = start_variant(name, objective, setup, data, folder)
        trainers[name].train_step(batches[0])
        resting[name] = torch.cuda.memory_allocated() - before
    seconds, working = ({name: [] for name in trainers} for _ in range(2))
    for samples in batches[1 : WARM_UP + repeats]:
        for name, trainer in trainers.items():
            held = _synchronized_memory()
            begun = time.perf_counter()
            if trainer.train_step(samples) is None:
                raise ArithmeticError(f"{objective}, {name}: an update overflowed")
            peak = _synchronized_memory()
            seconds[name].append(time.perf_counter() - begun)
            working[name].append(peak - held)
    return {
        name: Cost(
            median(seconds[name][WARM_UP - 1 :]), (resting[name] + max(working[name])) / 2**20
        )
        for name in trainers
    }


def _synchronized_memory() -> int:
    """Wait for the card; return the most bytes in use on it since this was last asked."""
    if not torch.cuda.is_available():
        return 0
    torch.cuda.synchronize()
    peak = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    return peak


def rows(setup: Setup, label: str, repeats: int, objectives: Iterable[str] = OBJECTIVES) -> None:
    """Print a row for every objective."""
    from tests.support.trainers import write_data

    sentences = (repeats + WARM_UP) * setup.micro_batches * setup.micro_batch // SENTENCE
    for objective in objectives:
        with tempfile.TemporaryDirectory() as name:
            data = write_data(Path(name), sentences, SENTENCE - 1, setup.vocabulary)
            plain, lca, strides = costs(objective, setup, data, Path(name), repeats).values()
        on_average = lca.seconds + (strides.seconds - lca.seconds) / EVERY
        cells = [f"{objective}{label}", f"{plain.seconds:.3g}"]
        cells += [f"{plain.seconds / each:.3f}" for each in (lca.seconds, on_average)]
        cells += [f"{strides.seconds / lca.seconds:.2f}"]
        if plain.megabytes:
            cells += [f"{plain.megabytes:.0f}"]
            cells += [f"{other.megabytes - plain.megabytes:+.0f}" for other in (lca, strides)]
        print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="updates timed of each variant")
    parser.add_argument("--on", choices=("cpu", "card"), help="by default on both")
    arguments = parser.parse_args()
    repeats = arguments.repeats
    costs = "plain, s an update | LCA, throughput | trapezoid too | update at a stride's end"
    if arguments.on != "card":
        print(f"| training on the CPU | {costs} |")
        print("|---|---|---|---|---|")
        rows(CPU, "", repeats)
    if arguments.on != "cpu" and torch.cuda.is_available():
        print(f"\n| training on {torch.cuda.get_device_name()} ", end="")
        print(f"| {costs} | plain, peak MB | LCA, MB more | at a stride's end |")
        print("|---|---|---|---|---|---|---|---|")
        for label, setup in CARD.items():
            rows(setup, label, repeats)


if __name__ == "__main__":
    main()
