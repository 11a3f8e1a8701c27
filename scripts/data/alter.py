"""Make a variant of binary data whose training text is a sample, or has shuffled sentences."""

import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from closer_look.data.binary import count
from closer_look.jobs.job import job
from closer_look.jobs.manifest import check_folder, write_manifest

if TYPE_CHECKING:  # fairseq logs as it is imported: not before the job's log takes its lines
    from fairseq.data.indexed_dataset import MMapIndexedDataset
    from torch import Tensor

SEED = 1
"""Of the choice of sentences: the same for all sides, sizes and shares, which so are nested."""


def choose(number: int, max_train: int | None, noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Return which of so many sentences are kept, in their order, and which of these are shuffled.

    The first are indices, `(kept,)`, the second booleans of the same shape. What is in a small
    sample is in every larger one, and likewise for the share `noise`.
    """
    random = np.random.default_rng(SEED)
    order, level = random.permutation(number), random.random(number)
    kept = np.sort(order[:max_train])
    return kept, level[kept] < noise


def altered(
    sentences: "MMapIndexedDataset", max_train: int | None, noise: float, seed: int
) -> Iterator["Tensor"]:
    """Yield the sentences that are kept, `(tokens,)`, some shuffled but for the end mark."""
    random = np.random.default_rng([SEED, seed])
    for row, is_shuffled in zip(*choose(len(sentences), max_train, noise), strict=True):
        tokens = sentences[row]
        end = len(tokens) - 1
        yield tokens[[*random.permutation(end), end]] if is_shuffled else tokens


def write(sentences: Iterable["Tensor"], path: Path, entries: int) -> None:
    """Write sentences, `(tokens,)` each, as PATH.bin and PATH.idx."""
    from fairseq.data.indexed_dataset import make_builder

    builder = make_builder(f"{path}.bin", "mmap", entries)
    for tokens in sentences:
        builder.add_item(tokens)
    builder.finalize(f"{path}.idx")


def alter(source: Path, target: Path, max_train: int | None, noise: float) -> dict:
    """Write `source`, a folder of fairseq's datasets, with altered training text to `target`.

    Of a translation model the same pairs are kept, and shuffled on both sides. Returns the number
    of entries of the dictionary, and the counts of each .bin file by its name.
    """
    from fairseq.data import Dictionary
    from fairseq.data.indexed_dataset import MMapIndexedDataset

    target.mkdir(parents=True)
    for path in source.iterdir():
        if not path.name.startswith("train."):
            shutil.copyfile(path, target / path.name)
    dictionary = Dictionary.load(str(next(source.glob("dict*.txt"))))
    for seed, index in enumerate(sorted(source.glob("train*.idx"))):
        sentences = MMapIndexedDataset(str(index.with_suffix("")))
        write(altered(sentences, max_train, noise, seed), target / index.stem, len(dictionary))
    counts = {path.stem: count(path, dictionary) for path in sorted(target.glob("*.bin"))}
    return {"entries": len(dictionary), "parts": counts}


if __name__ == "__main__":
    with job(snakemake):
        size, noise = snakemake.params.max_train, snakemake.params.noise
        source, folder = Path(snakemake.input.folder), Path(snakemake.output.folder)
        check_folder(source, source.with_name(f"{source.name}.json"))
        facts = alter(
            source,
            folder,
            max_train=None if size == "none" else int(size),
            noise=0.0 if noise == "none" else float(noise),
        )
        files = {path.name: path for path in sorted(folder.iterdir())}
        write_manifest(snakemake.output.manifest, files, **facts)
