"""Split text into the pieces of a SentencePiece model, as fairseq's binary datasets.

The files are those that `fairseq-preprocess` makes of the output of `spm_encode`, byte for byte, in
a sixth of the time: SentencePiece's numbers are mapped to those of fairseq's dictionary, and no
piece is written out and looked up. Only where the text itself says </s>, `fairseq-preprocess` ends
the sentence; here it is an unknown piece.
"""

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import sentencepiece

from closer_look.data.binary import count
from closer_look.data.dropped import check_dropped
from closer_look.data.text import read_lines
from closer_look.jobs.job import job, tell
from closer_look.jobs.manifest import check_bpe, write_manifest

if TYPE_CHECKING:  # fairseq logs as it is imported: not before the job's log takes its lines
    from fairseq.data import Dictionary

BATCH = 20_000  # lines in memory at a time
WORTH_TELLING = 0.01
"""Share of the pieces that may be unknown unsaid: held-out text has characters of its own."""


class Encoder:
    """Turns lines into the numbers of fairseq's dictionary, each line with an end mark."""

    def __init__(self, model: str | Path, dictionary: "Dictionary", threads: int) -> None:
        from fairseq.data.indexed_dataset import best_fitting_int_dtype

        self.processor = sentencepiece.SentencePieceProcessor(
            model_file=str(model), add_eos=True, num_threads=threads
        )
        pieces = map(self.processor.id_to_piece, range(len(self.processor)))
        self.dtype = best_fitting_int_dtype(len(dictionary))
        self.numbers = np.array([dictionary.index(piece) for piece in pieces], dtype=self.dtype)
        """fairseq's number of each piece by SentencePiece's: what fairseq lacks is unknown."""

    def encode(self, text: str | Path) -> Iterator[tuple[np.ndarray, list[int]]]:
        """Yield the tokens of some lines after the other, and the number of each line's tokens."""
        lines = read_lines(text)
        while batch := list(islice(lines, BATCH)):
            encoded = self.processor.encode(batch, out_type=int)
            sizes = list(map(len, encoded))
            tokens = np.fromiter(chain.from_iterable(encoded), np.int32, sum(sizes))
            yield self.numbers[tokens], sizes


def write_dataset(text: str | Path, encoder: Encoder, prefix: Path) -> None:
    """Write `prefix`.bin and .idx, or nothing if the text is empty."""
    from fairseq.data.indexed_dataset import MMapIndexedDataset

    sizes = []
    path = Path(f"{prefix}.bin")
    with path.open("wb") as file:
        for tokens, sizes_of_batch in encoder.encode(text):
            file.write(tokens.tobytes())
            sizes += sizes_of_batch
    if not sizes:
        path.unlink()
        return
    with MMapIndexedDataset.Index.writer(f"{prefix}.idx", encoder.dtype) as index:
        index.write(sizes)


def binarise(
    text: dict[str, str | Path],
    model: str | Path,
    dictionary: str | Path,
    folder: str | Path,
    source: str,
    target: str | None,
    threads: int,
) -> dict[str, dict[str, int]]:
    """Write the dataset of a language model or, with a `target`, of a translation model.

    `text` gives a file for each part and side: train_source, valid_target and so on. An empty one
    is left out. Returns the counts of each .bin file by its name.
    """
    from fairseq.data import Dictionary

    folder = Path(folder)
    folder.mkdir(parents=True)
    pair = f".{source}-{target}" if target else ""
    suffixes = {"source": f".{source}", "target": f".{target}"} if target else {"source": ""}
    entries = Dictionary.load(str(dictionary))
    for suffix in suffixes.values():
        entries.save(str(folder / f"dict{suffix}.txt"))
    encoder = Encoder(model, entries, threads)
    for name, path in text.items():
        part, side = name.split("_")
        write_dataset(path, encoder, folder / f"{part}{pair}{suffixes[side]}")
    return {path.stem: count(path, entries) for path in sorted(folder.glob("*.bin"))}


if __name__ == "__main__":
    with job(snakemake):
        from fairseq.data import Dictionary

        text = dict(snakemake.input.items())
        model, dictionary = text.pop("model"), text.pop("dictionary")
        check_bpe(model, dictionary=dictionary)
        folder = Path(snakemake.output.folder)
        counts = binarise(
            text,
            model,
            dictionary,
            folder,
            snakemake.params.source,
            snakemake.params.target,
            snakemake.threads,
        )
        for name, part in counts.items():
            pieces = part["tokens"] - part["sentences"]
            check_dropped(
                f"{folder}: of the pieces of {name}",
                {"unknown to the vocabulary": part["unknown"]},
                pieces,
                snakemake.config["cleaning"]["max_dropped"],
            )
            if part["unknown"] > WORTH_TELLING * pieces:
                tell(f"{folder}: of {pieces} pieces of {name}, {part['unknown']} are unknown")
        write_manifest(
            snakemake.output.manifest,
            {path.name: path for path in sorted(folder.iterdir())},
            entries=len(Dictionary.load(dictionary)),
            parts=counts,
        )
