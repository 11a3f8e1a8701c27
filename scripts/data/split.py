"""Split a corpus at random into training, validation and test pairs that share no line.

Lines are the same if they are to the model, that is, after SentencePiece's normalisation.
"""

from array import array
from contextlib import ExitStack
from hashlib import blake2b
from itertools import islice
from pathlib import Path

import numpy as np

from closer_look.data.dropped import check_dropped
from closer_look.data.sentences import normalised
from closer_look.data.text import read_pairs, write_lines
from closer_look.jobs.job import InputError, job
from closer_look.jobs.manifest import write_manifest

BLOCK = 100_000  # pairs
BATCH = 10_000  # pairs whose text is in memory at a time
PARTS = ("train", "valid", "test")
TRAIN, VALID, TEST, UNUSED, SHARED = range(5)


def hash_lines(source: str | Path, target: str | Path) -> np.ndarray:
    """Return a 64-bit hash of every line, the same in every process: (pairs, 2), uint64.

    Lines that are one to SentencePiece have the same.
    """
    hashes = array("Q")
    pairs = read_pairs(source, target)
    while batch := list(islice(pairs, BATCH)):
        for line in normalised([line for pair in batch for line in pair]):
            hashes.frombytes(blake2b(line.encode(), digest_size=8).digest())
    return np.frombuffer(hashes, dtype=np.uint64).reshape(-1, 2)


def assign(
    hashes: np.ndarray, valid: int, test: int, max_train: int | None, seed: int
) -> np.ndarray:
    """Return the part of each pair, (pairs,) of uint8: one of PARTS by index, UNUSED or SHARED.

    In a random order, pairs whose lines no earlier one holds become test pairs, then validation
    pairs, as long as there are any. The others with a line, on either side, that is held out are
    SHARED; all the rest are for training, or `max_train` of them at random.
    """
    random = np.random.default_rng(seed)
    parts = np.full(len(hashes), TRAIN, dtype=np.uint8)
    free = iter(random.permutation(len(hashes)))
    lines = set()
    for part, size in ((TEST, test), (VALID, valid)):
        while size > 0 and (index := next(free, None)) is not None:
            pair = hashes[index].tolist()
            if lines.isdisjoint(pair):
                lines.update(pair)
                parts[index] = part
                size -= 1
    held_out = np.isin(parts, (VALID, TEST))
    # In blocks: of the whole, `isin` would make several copies.
    blocks = np.array_split(hashes, 1 + len(hashes) // BLOCK)
    shared = np.concatenate([np.isin(b, hashes[held_out]).any(axis=1) for b in blocks])
    parts[shared & ~held_out] = SHARED
    train = np.flatnonzero(parts == TRAIN)
    if max_train is not None and max_train < len(train):
        parts[random.choice(train, len(train) - max_train, replace=False)] = UNUSED
    return parts


def split(
    source: str | Path,
    target: str | Path,
    outputs: dict[str, tuple[str | Path, str | Path]],
    valid: int,
    test: int,
    max_train: int | None,
    seed: int,
) -> dict[str, int]:
    """Write the pairs of each part to its two files in `outputs`, in the order of the corpus.

    Returns the number of pairs in each part, unused (more than `max_train`) and shared (dropped
    because one of their lines is held out). A corpus too small for `valid` and `test` is an
    `InputError`. Takes some 30 bytes of memory for each pair.
    """
    parts = assign(hash_lines(source, target), valid, test, max_train, seed)
    names = (*PARTS, "unused", "shared")
    counts = dict(zip(names, np.bincount(parts, minlength=len(names)).tolist(), strict=True))
    if (counts["valid"], counts["test"]) != (valid, test) or counts["train"] == 0:
        raise InputError(
            f"{source}: {len(parts)} pairs are too few for `valid` ({valid}) and `test` ({test}), "
            "which share no line with each other or the training text"
        )
    with ExitStack() as stack:
        writers = [
            [stack.enter_context(write_lines(path)) for path in outputs[part]] for part in PARTS
        ]
        for part, pair in zip(parts, read_pairs(source, target), strict=True):
            if part < len(PARTS):
                for write, line in zip(writers[part], pair, strict=True):
                    write(line)
    return counts


if __name__ == "__main__":
    with job(snakemake):
        output = snakemake.output
        outputs = {part: (output[f"{part}_source"], output[f"{part}_target"]) for part in PARTS}
        counts = split(
            snakemake.input.source,
            snakemake.input.target,
            outputs,
            snakemake.params.valid,
            snakemake.params.test,
            snakemake.params.max_train,
            snakemake.params.seed,
        )
        check_dropped(
            f"{snakemake.input.source}: of the pairs",
            {"with a line that a validation or test pair has too": counts["shared"]},
            sum(counts.values()),
            snakemake.config["cleaning"]["max_dropped"],
        )
        files = {name: path for name, path in output.items() if name != "manifest"}
        write_manifest(output.manifest, files, pairs=counts)
