"""Read the aligned sentences of a corpus, whatever form they come in."""

import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from closer_look.data.documents import check_documents
from closer_look.data.opus import corpus_files, local_name
from closer_look.data.sources import texts
from closer_look.data.text import Text, check_intact, copy_lines, write_bytes
from closer_look.jobs.command import run
from closer_look.jobs.job import InputError, job
from closer_look.jobs.manifest import sha256, write_manifest


def opus_read(
    folder: Path, corpus: dict, source: str, target: str, source_text: Path, target_text: Path
) -> None:
    """Write the aligned sentences of OPUS's documents with `opus_read`.

    What is incomplete, and a document that it would only warn about and skip, is an `InputError`.
    With all files there and intact, it does not turn to the network.
    """
    for path in corpus_files(corpus, source, target):
        file = folder / local_name(path)
        check_intact(file, name=file)
    if corpus["format"] != "moses":
        check_documents(folder, corpus, source, target)
    printed = run(
        "opus_read",
        *("-d", corpus["name"], "-r", corpus["version"], "-p", corpus["format"]),
        *("-s", source, "-t", target, "-wm", "moses", "-w", source_text, target_text),
        # The root is where files are looked for first: by default a path that some clusters have.
        *("-dl", folder, "-rd", folder, "-q"),
    )
    for reason, line in zip(printed, printed[1:], strict=False):
        if line.startswith("Continuing from next sentence file pair"):
            raise InputError(f"{folder}: {reason}")


@contextmanager
def aligned_texts(
    corpus: dict, source: str, target: str, folder: Path | None, scratch: Path
) -> Iterator[list[tuple[Text, Text]]]:
    """Give the two sides of every part of a corpus; documents are first aligned in `scratch`."""
    if corpus["source"] != "opus" or corpus["format"] == "moses":
        yield texts(corpus, source, target, folder)
        return
    with tempfile.TemporaryDirectory(dir=scratch) as temporary:
        sides = Path(temporary, "source"), Path(temporary, "target")
        opus_read(folder, corpus, source, target, *sides)
        yield [sides]


def read(
    folder: str | Path | None,
    corpus: dict,
    source: str,
    target: str,
    source_text: str | Path,
    target_text: str | Path,
) -> list[int]:
    """Write the sentences of the two languages, line by line aligned, one part after the other.

    `folder` holds the files of the corpus as `download` leaves them; None if it is "local".
    Returns the number of pairs of each part. Sides of unequal length and text that is not UTF-8 are
    an `InputError`.
    """
    scratch = Path(source_text).parent
    with (
        aligned_texts(corpus, source, target, folder and Path(folder), scratch) as parts,
        write_bytes(source_text) as source_file,
        write_bytes(target_text) as target_file,
        ThreadPoolExecutor(2) as threads,
    ):
        files = (source_file, target_file)
        counts = list(threads.map(_copy_all, zip(*parts, strict=True), files))
        for sides, lines in zip(parts, zip(*counts, strict=True), strict=True):
            if lines[0] != lines[1]:
                raise InputError(f"{sides[0]}: {lines[0]} lines, but {lines[1]} in {sides[1]}")
    return counts[0]


def _copy_all(side: Iterable[Text], file: BinaryIO) -> list[int]:
    """Append the texts of one side to a file; return the number of lines of each."""
    return [copy_lines(text, file) for text in side]


if __name__ == "__main__":
    with job(snakemake):
        output = snakemake.output
        counts = read(
            snakemake.input.get("folder"),
            snakemake.params.corpus,
            snakemake.params.source,
            snakemake.params.target,
            output.source,
            output.target,
        )
        write_manifest(
            output.manifest,
            {"source": output.source, "target": output.target},
            pairs=sum(counts),
            parts=counts,
            local={path: sha256(path) for path in snakemake.input.get("files", [])},
        )
