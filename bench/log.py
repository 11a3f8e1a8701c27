"""How large a log of the paper's length is, by objective, and the memory that writing it takes.

Random allocations of models of the paper's depth and heads, in parts of 1,000 updates, consolidated
as after a training. The width of the model does not matter: a head has one number however wide it
is. Prints a Markdown table; the goal is 1 GB for 125,000 updates.
"""

import argparse
import resource
import tempfile
from pathlib import Path

import torch

from closer_look.vocabulary import OBJECTIVES

UPDATES_OF_THE_PAPER = 125_000


def size(objective: str, updates: int, folder: Path) -> float:
    """Return the bytes of an update in a consolidated log."""
    from closer_look.training.fairseq_options import STACKS
    from lca import LAGS
    from lca.allocation import add_terms, empty
    from lca.blocks import partition
    from lca.recorder import EXTRA_UPDATES, Recorder, consolidate
    from tests.support import toys

    layers = 12 // len(STACKS[objective])
    sizes = dict(layers=layers, embed_dim=64, ffn_embed_dim=256, attention_heads=8)
    options = {f"{s}_{name}": value for s in STACKS[objective] for name, value in sizes.items()}
    part = partition(toys.model(objective, vocabulary=2000, **options))
    torch.manual_seed(1)
    allocation = empty(part)
    for piece in part.slices:
        add_terms(allocation, piece, torch.randn(piece.numel))
    recorder = Recorder(folder / "parts", part, {})
    for update in range(1, updates + EXTRA_UPDATES + 1):
        noise = (1 + torch.randn(len(LAGS), *allocation.shape, dtype=torch.float64)) / update
        allocations = {lag: allocation * factor for lag, factor in zip(LAGS, noise, strict=True)}
        recorder.record({"update": update, "loss": 5.0}, allocations)
        if update % 1000 == 0:
            recorder.close_part()
    recorder.close_part()
    consolidate(folder / "parts", folder / "log.parquet", updates)
    return (folder / "log.parquet").stat().st_size / updates


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=10_000, help="of the logs that are written")
    updates = parser.parse_args().updates
    print("| log | bytes an update | GB for 125,000 |\n|---|---|---|")
    for objective in OBJECTIVES:
        with tempfile.TemporaryDirectory() as folder:
            per_update = size(objective, updates, Path(folder))
        print(f"| {objective} | {per_update:.0f} | {per_update * UPDATES_OF_THE_PAPER / 1e9:.2f} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    print(f"\nPeak memory of this process, models included: {peak:.0f} MB")


if __name__ == "__main__":
    main()
