"""Split the words of a text into the pieces of a SentencePiece model."""

from itertools import islice
from pathlib import Path

import sentencepiece

from job import job
from text import read_lines, write_lines

BATCH = 50_000  # lines in memory at a time


def encode(text: str | Path, model: str | Path, encoded: str | Path, threads: int) -> None:
    """Write each line of a text as its pieces, separated by blanks."""
    processor = sentencepiece.SentencePieceProcessor(model_file=str(model))
    lines = read_lines(text)
    with write_lines(encoded) as write:
        while batch := list(islice(lines, BATCH)):
            for pieces in processor.encode(batch, out_type=str, num_threads=threads):
                write(" ".join(pieces))


if __name__ == "__main__":
    with job(snakemake):
        encode(
            snakemake.input.text, snakemake.input.model, snakemake.output.text, snakemake.threads
        )
