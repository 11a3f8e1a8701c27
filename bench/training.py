"""What LCA costs a whole training, on the CPU: throughput against plain fairseq.

fairseq's own Trainer makes the same updates of two micro-batches of random text with and without
LCA, one variant after the other, so that a machine that slows down slows all of them. Prints a
Markdown table of ratios of medians. Probes, which are scheduled, are not among the updates.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("scripts", "tests")]

VARIANTS = {"plain": "adam", "LCA": "lca_adam", "LCA, trapezoid too": "lca_adam"}
MICRO_BATCHES = 2
SENTENCES, LENGTH, VOCABULARY = 32, 31, 8000  # of a micro-batch: with its end, 1,024 tokens
SIZES = {"layers": 12, "embed-dim": 256, "ffn-embed-dim": 1024, "attention-heads": 8}


def make_trainers(objective: str, data: Path, folder: Path) -> tuple[dict, list]:
    """Return a trainer for each variant, and the batches of the updates."""
    from fairseq_options import STACKS
    from trainers import start

    stacks = STACKS[objective]
    sizes = SIZES | {"layers": SIZES["layers"] // len(stacks)}
    options = [f"--{stack}-{name}={size}" for stack in stacks for name, size in sizes.items()]
    options += [f"--batch-size={SENTENCES}", f"--update-freq={MICRO_BATCHES}", "--dropout=0.1"]
    options += [] if objective == "mt" else [f"--tokens-per-sample={LENGTH + 1}"]
    trainers = {}
    for name, optimizer in VARIANTS.items():
        more = [*options, "--lca-cross-batch"] if "trapezoid" in name else options
        trainers[name], batches = start(data, folder / name, objective, *more, optimizer=optimizer)
    return trainers, batches


def times(objective: str, data: Path, folder: Path, repeats: int) -> dict[str, float]:
    """Return the median seconds of an update of every variant."""
    trainers, batches = make_trainers(objective, data, folder)
    found = {name: [] for name in trainers}
    for repeat, samples in enumerate(batches[: repeats + 2]):
        for name, trainer in trainers.items():
            start = time.perf_counter()
            trainer.train_step(samples)
            if repeat >= 2:  # the first make the moments and compile
                found[name].append(time.perf_counter() - start)
    return {name: median(seconds) for name, seconds in found.items()}


def main() -> None:
    """Print the table."""
    from trainers import write_data

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="updates timed of each variant")
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as name:
        sentences = (repeats + 2) * MICRO_BATCHES * SENTENCES
        data = write_data(Path(name), sentences, LENGTH, VOCABULARY)
        print("| training on the CPU | plain, s an update | LCA, throughput | trapezoid too |")
        print("|---|---|---|---|")
        for objective in ("mlm", "clm", "mt"):
            plain, lca, trapezoid = times(objective, data, Path(name) / objective, repeats).values()
            ratios = f"{plain / lca:.3f} | {plain / trapezoid:.3f}"
            print(f"| {objective} | {plain:.2f} | {ratios} |", flush=True)


if __name__ == "__main__":
    main()
