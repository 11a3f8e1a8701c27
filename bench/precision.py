"""What half precision does to the values: fp16 and bf16 against fp32, on a card.

fairseq's own Trainer makes some updates of the paper's models on random text, without dropout. Each
is allocated twice: with the gradient that the training had, and with that of a float32 copy of the
model at the same parameters, of the same batch. Prints a Markdown table of how the sums over the
updates differ: that of all blocks; the blocks' shares of it (half of their summed absolute
differences); and the block that is furthest off, of those with a hundredth of the sum or more.
"""

import argparse
import copy
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from closer_look.vocabulary import OBJECTIVES
from lca.allocation import allocate, per_block

SIZES = {"layers": 12, "heads": 8, "embed_dim": 512, "ffn_dim": 2048}
VOCABULARY, SENTENCE, BATCH = 32000, 32, 128


class Sums(NamedTuple):
    """The loss changes of all blocks, (blocks,), summed over the updates."""

    found: Tensor
    """With the training's own gradient."""
    expected: Tensor
    """With that of float32."""


def compare(
    data: Path,
    folder: Path,
    objective: str,
    updates: int,
    precision: str,
    on: Sequence[str] = (),
    sizes: dict[str, int] = SIZES,
) -> Sums:
    """Train in a precision on a device (a card, or the options `on`), and return both sums."""
    from closer_look.training.fairseq_options import architecture
    from tests.support.trainers import start

    options = [f"--{name}={value}" for name, value in architecture(objective, sizes).items()]
    options += [f"--batch-size={BATCH}", "--update-freq=2", "--lr=0.0005", "--fp16-init-scale=1"]
    options += ["--dropout=0", "--attention-dropout=0", "--activation-dropout=0"]
    options += [] if objective == "mt" else [f"--tokens-per-sample={SENTENCE}"]
    # A setting: of the option bf16, fairseq's parser in this process concludes that there are TPUs.
    trainer, batches = start(data, folder, objective, *options, on=on, common=(precision,))
    optimizer, model = trainer.optimizer.optimizer, copy.deepcopy(trainer._model).float()
    sums = [torch.zeros(()), torch.zeros(())]
    for samples in batches[:updates]:
        before = [value.clone() for value in optimizer.values()]
        if trainer.train_step(samples) is None:  # an overflow
            continue
        moved = [b - a for a, b in zip(before, optimizer.values(), strict=True)]
        true = _gradients(trainer, model, before, samples)
        for number, gradients in enumerate((optimizer.gradients(), true)):
            allocation = allocate(gradients, moved, optimizer.partition)
            sums[number] = sums[number] + per_block(allocation.cpu(), optimizer.partition)[:, 0]
    return Sums(*sums)


def _gradients(trainer, model, values: Sequence[Tensor], samples: Sequence[dict]) -> list[Tensor]:
    """Return the gradients of the mean loss of some samples at parameters `values`, flat."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value.view_as(parameter))
    model.train().zero_grad()
    tokens = 0
    for sample in samples:
        prepared, _ = trainer._prepare_sample(sample)
        nats, size, _ = trainer.criterion(model, prepared)
        nats.backward()
        tokens += size
    return [p.grad.reshape(-1) / tokens for p in parameters]


def row(objective: str, precision: str, sums: Sums) -> str:
    """Return the table's row."""
    total = sums.expected.sum()
    apart = sums.found - sums.expected
    shares = (sums.found / sums.found.sum() - sums.expected / total).abs().sum() / 2
    large = sums.expected.abs() > total.abs() / 100
    cells = [objective, precision, f"{float(total):.3f}"]
    furthest = (apart / sums.expected)[large].abs().max()
    cells += [f"{100 * float(value):.3f} %" for value in (apart.sum() / total, shares, furthest)]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Print the table."""
    from tests.support.trainers import write_data

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=10, help="that are added up")
    updates = parser.parse_args().updates
    if not torch.cuda.is_available():
        print("No CUDA card: nothing measured.")
        return
    print(f"{torch.cuda.get_device_name()}, {updates} updates of {2 * BATCH * SENTENCE} tokens\n")
    print("| gradients | in | sum, nats | sum off by | shares off by | a block, at most |")
    print("|---|---|---|---|---|---|")
    for objective in OBJECTIVES:
        for precision in ("fp16", "bf16"):
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                data = write_data(folder, 2 * BATCH * updates, SENTENCE - 1, VOCABULARY)
                sums = compare(data, folder, objective, updates, precision)
            print(row(objective, precision, sums), flush=True)


if __name__ == "__main__":
    main()
