"""Do the values add up over a long training? On plateaus, and at frozen states.

Trains tiny models of the three objectives through fairseq and the plugin, at a constant learning
rate, on the bundled text, and holds what the log's estimators add up to against the change of the
loss on the whole training text. On a plateau that change is a small remainder of large terms: an
estimator with a bias of one sign drifts away. With little text (`--pairs`) it is read many times.
Then, from an early and a late update on, what strides are allocated on the whole text is held
against the change of its loss: that is the bias, for which text is taken is chance. Last, block by
block: what strides allocate to each against what single updates do, on the same text. Prints
Markdown tables, with standard errors. At full length it takes about an hour of one core; run it by
hand.
"""

import argparse
import gzip
import logging
import math
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

from closer_look.vocabulary import OBJECTIVES

ROOT = Path(__file__).parents[1]

BUNDLED = ROOT / "resources/opus/LibreOfficeHelp/v7.4/moses/de-en.txt.zip"
LANGUAGES = ("en", "de")
VOCABULARY, LINES = 1000, 10_000  # pieces, learned from so many lines
TOKENS = 256  # of an update
SAMPLE = 32  # tokens, of a language model
LAYERS, WIDTH = {"mlm": 2, "clm": 2, "mt": 4}, 32
RATES = {
    "adam": ("lca_adam", "--lr=0.003", "--adam-betas=(0.9, 0.98)", "--adam-eps=1e-06"),
    "sgd": ("lca_sgd", "--lr=0.3", "--momentum=0.9", "--clip-norm=1.0"),
}
"""The optimizers and their options."""


class Sum(NamedTuple):
    """A sum over updates with its standard error, in nats per predicted token."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.error:.3f}".replace("-", "−")


def write_text(folder: Path, pairs: int | None) -> Path:
    """Binarise the bundled pairs for translation and, the English side, for language models."""
    from scripts.data.binarise import binarise
    from scripts.data.learn_bpe import learn_bpe

    sides = []
    with zipfile.ZipFile(BUNDLED) as archive:
        for language in LANGUAGES:
            lines = archive.read(f"LibreOfficeHelp.de-en.{language}").decode().splitlines()
            sides.append(lines[:pairs])
    kept = [pair for pair in zip(*sides, strict=True) if all(3 < len(s.split()) < 60 for s in pair)]
    text = {}
    for number, language in enumerate(LANGUAGES):
        text[language] = folder / f"{language}.gz"
        with gzip.open(text[language], "wt", encoding="utf-8") as file:
            file.writelines(f"{pair[number]}\n" for pair in kept)
    model, dictionary = folder / "spm.model", folder / "dict.txt"
    learn_bpe(list(text.values()), model, dictionary, VOCABULARY, LINES)
    one, other = LANGUAGES
    binarise({"train_source": text[one]}, model, dictionary, folder / "lm", one, None, 1)
    both = {"train_source": text[one], "train_target": text[other]}
    binarise(both, model, dictionary, folder / "mt", one, other, 1)
    return folder


class Training:
    """A tiny model at a constant learning rate, driven update by update."""

    def __init__(
        self,
        data: Path,
        folder: Path,
        objective: str,
        optimizer: str,
        dropout: float,
        every: int,
        tokens: int,
        updates: int,
    ) -> None:
        from closer_look.training.fairseq_options import STACKS, architecture
        from tests.support.trainers import start

        name, *options = RATES[optimizer]
        sizes = {"layers": LAYERS[objective], "heads": 4, "embed_dim": WIDTH, "ffn_dim": 4 * WIDTH}
        model = architecture(objective, sizes)
        options += [f"--{option}={value}" for option, value in model.items()]
        options += [f"--{stack}-normalize-before" for stack in STACKS[objective]]
        options += [] if objective == "mt" else [f"--tokens-per-sample={SAMPLE}"]
        options += [f"--max-tokens={TOKENS}", "--batch-size=1000", f"--dropout={dropout}"]
        options += [f"--lca-trapezoid-every={every}", f"--lca-trapezoid-tokens={tokens}"]
        options += [f"--max-update={updates + 1}"]  # the last stride ends at `updates`
        data = data / ("mt" if objective == "mt" else "lm")
        self.folder = folder
        self.trainer, _ = start(data, folder, objective, *options, optimizer=name)
        self._samples = self._endless()
        text = self.trainer.lca.trapezoid.text
        self.whole = text.fixed(text.tokens)

    def _endless(self) -> Iterator[list[dict]]:
        """Yield the samples of one update after the other, shuffled in every epoch."""
        for epoch in count(1):
            yield from (
                [batch]
                for batch in self.trainer.get_train_iterator(epoch).next_epoch_itr(shuffle=True)
            )

    def update(self) -> None:
        """Make an update."""
        self.trainer.train_step(next(self._samples))

    def values(self) -> list[torch.Tensor]:
        """Return a copy of the parameters."""
        return [value.clone() for value in self.trainer.optimizer.optimizer.values()]

    def copy(self):
        """Return the model to be measured; see `fairseq_plugin.probe.Copy`."""
        return sys.modules["fairseq_plugin.probe"].Copy(self.trainer)

    def loss(self) -> tuple[np.ndarray, np.ndarray]:
        """Return nats and tokens of the whole text, batch by batch, with dropout."""
        return np.array(self.copy().losses(self.values(), self.whole, dropout=0)).T


def change(before, after) -> Sum:
    """Return the change of the loss per token, with its error from the scatter of the batches."""
    moved, tokens = after[0] - before[0], after[1]
    mean = moved.sum() / tokens.sum()
    return Sum(mean, np.sqrt(((moved - mean * tokens) ** 2).sum()) / tokens.sum())


def estimates(folder: Path, updates: int) -> dict[str, pd.DataFrame]:
    """Return what each estimator of the log adds up to after each of the first updates, all blocks,
    and its standard error: frames with the columns lca and lca_se."""
    from lca.analysis.completeness import sums
    from lca.recorder import consolidate

    log = folder / "log.parquet"
    consolidate(folder / "log", log, updates)
    return sums(log)


def plateau(training: Training, lengths: list[int]) -> Iterator[tuple]:
    """Train, and yield for each length the true change and the sum of each estimator."""
    begin, losses = training.loss(), {}
    for update in range(1, max(lengths) + 2):
        training.update()
        if update in lengths:
            losses[update] = training.loss()
    training.trainer.lca.close_part()
    estimated = estimates(training.folder, max(lengths))
    for length, loss in losses.items():
        sums = {name: Sum(*frame.loc[length]) for name, frame in estimated.items()}
        yield length, change(begin, loss), sums


class Frozen(NamedTuple):
    """What is known of a stride on the whole text, in nats per predicted token."""

    start: float
    """The term at its start, g * dtheta."""
    rises: list
    """What was allocated, and the change of the loss, batch by batch."""


def frozen(training: Training, at: list[int], strides: int, every: int) -> Iterator[list[Frozen]]:
    """For each of the updates `at`, yield what is known of the strides that begin after it."""
    from lca.trapezoid import trapezoid

    partition = training.trainer.lca.recorder.partition
    done = 0
    for first in at:
        while done < first:
            training.update()
            done += 1
        measured = []
        for _ in range(strides):
            before = training.values()
            for _ in range(every):
                training.update()
            done += every
            after, model = training.values(), training.copy()
            slope = model.loss_and_gradients(before, training.whole, dropout=0)[1]
            pairs = zip(slope, before, after, strict=True)
            term = sum(float(g @ (new - old)) for g, old, new in pairs)

            def evaluate(group: int, values: list, model=model):
                return model.loss_and_gradients(values, [training.whole[group]], dropout=group)

            rises = trapezoid(evaluate, len(training.whole), before, after, partition)
            measured.append(Frozen(term, rises))
        yield measured


def bias(strides: list[Frozen]) -> tuple[float, Sum]:
    """Return the mean term at the start, and how far what is allocated is off, in percent of it:
    the change of the loss itself may be next to nothing on a plateau."""
    start = np.mean([stride.start for stride in strides])
    off = [
        np.mean([float(rise.allocation[:, 0].sum()) - rise.change for rise in stride.rises])
        for stride in strides
    ]
    share = 100 / abs(start)
    error = np.std(off, ddof=1) / math.sqrt(len(off))
    return start, Sum(share * float(np.mean(off)), share * error)


def both_ways(training: Training, updates: int, every: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what each block was allocated in single updates and in strides, in nats per token.

    Of two groups of the trapezoid's text: enough for how the rule divides a stride, which is not
    for them to differ in.
    """
    from lca.allocation import per_block
    from lca.trapezoid import Strides, trapezoid

    text, model = training.trainer.lca.trapezoid, training.copy()
    partition = training.trainer.lca.recorder.partition

    def evaluate(group: int, values: list):
        return model.loss_and_gradients(values, text.groups[group], dropout=group)

    def allocated(before: list, after: list) -> np.ndarray:
        found = trapezoid(evaluate, 2, before, after, partition)
        return sum(per_block(each.allocation, partition)[:, 0].numpy() / 2 for each in found)

    strides, start = Strides(every, updates), training.values()
    before, single, by_stride = start, 0.0, 0.0
    for update in range(1, updates + 1):
        training.update()
        after = training.values()
        single = single + allocated(before, after)
        if strides.end_at(update):
            by_stride = by_stride + allocated(start, after)
            start = after
        before = after
    return single, by_stride


def misplaced(single: np.ndarray, by_stride: np.ndarray, names: list[str]) -> tuple[str, str]:
    """Return the share of the whole that strides allocate to other blocks than single updates do,
    and of which block the two differ most."""
    apart = by_stride / by_stride.sum() - single / single.sum()
    worst = int(np.abs(by_stride - single).argmax())
    block = f"{names[worst]}: {single[worst]:.4f}, {by_stride[worst]:.4f}".replace("-", "−")
    return f"{50 * np.abs(apart).sum():.1f} %", block


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=6000)
    parser.add_argument("--objectives", nargs="+", default=OBJECTIVES)
    parser.add_argument("--optimizers", nargs="+", default=["adam"], choices=RATES)
    parser.add_argument("--pairs", type=int, help="of the bundled text, by default all")
    parser.add_argument("--every", type=int, default=16, help="updates of a stride")
    parser.add_argument("--tokens", type=int, default=8192, help="of the trapezoid's text")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--only", choices=["plateau", "frozen", "blocks"])
    parser.add_argument("--strides", type=int, default=10, help="from each frozen state")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    logging.disable()  # of fairseq and of Numba, which thousands of lines would be of
    lengths = sorted({max(1, arguments.updates // part) for part in (6, 2, 1)})
    with tempfile.TemporaryDirectory() as name:
        folder = write_text(Path(name), arguments.pairs)
        cases = [(o, rule) for o in arguments.objectives for rule in arguments.optimizers]
        sampling = arguments.every, arguments.tokens, arguments.updates
        if arguments.only in (None, "plateau"):
            print("| model | updates | true change | trapezoid | next-batch | own-batch |")
            print("|---|---|---|---|---|---|", flush=True)
            for objective, rule in cases:
                place = folder / f"plateau-{objective}-{rule}"
                training = Training(folder, place, objective, rule, arguments.dropout, *sampling)
                for length, true, sums in plateau(training, lengths):
                    cells = [sums[name] for name in ("trapezoid", "next_batch", "own_batch")]
                    row = [f"{objective}, {rule}", f"{length:,}", true, *cells]
                    print(f"| {' | '.join(map(str, row))} |", flush=True)
        if arguments.only in (None, "frozen"):
            print("\n| model | updates | term at the start | what is allocated is off by, in % |")
            print("|---|---|---|---|", flush=True)
            for objective, rule in cases:
                place = folder / f"frozen-{objective}-{rule}"
                training = Training(folder, place, objective, rule, arguments.dropout, *sampling)
                at = [20, max(40, arguments.updates // 2)]
                every, strides = arguments.every, arguments.strides
                for first, measured in zip(at, frozen(training, at, strides, every), strict=True):
                    start, off = bias(measured)
                    updates = f"{first + 1:,}–{first + strides * every:,}"
                    print(f"| {objective}, {rule} | {updates} | {start:.5f} | {off} |", flush=True)
        if arguments.only in (None, "blocks"):
            print(
                "\n| model | allocated elsewhere by strides | most: by single updates, by strides |"
            )
            print("|---|---|---|", flush=True)
            for objective, rule in cases:
                place = folder / f"blocks-{objective}-{rule}"
                training = Training(folder, place, objective, rule, arguments.dropout, *sampling)
                names = [block.name for block in training.trainer.lca.recorder.partition.blocks]
                ways = both_ways(training, arguments.updates, arguments.every)
                share, block = misplaced(*ways, names)
                print(f"| {objective}, {rule} | {share} | {block} |", flush=True)


if __name__ == "__main__":
    main()
