"""Fetch a language pair of a test set by sacrebleu, which keeps it in $SACREBLEU (~/.sacrebleu)."""

import socket
from pathlib import Path

import sacrebleu

from closer_look.data.test_sets import sacrebleu_pair
from closer_look.data.text import read_pairs, write_lines
from closer_look.jobs.job import InputError, job
from closer_look.jobs.manifest import write_manifest

PATIENCE = 60  # seconds without a word from the server


def fetch(test_set: str, pair: str) -> tuple[Path, Path]:
    """Return sacrebleu's files of the source and the (first) reference, fetched if need be.

    Raises `InputError` with the addresses if that fails.
    """
    socket.setdefaulttimeout(PATIENCE)  # sacrebleu sets none
    try:
        source = sacrebleu.get_source_file(test_set, pair)
        reference, *_ = sacrebleu.get_reference_files(test_set, pair)
    # It exits where a checksum is wrong, and then takes the file for good the next time.
    except (Exception, SystemExit) as error:
        urls = " ".join(sacrebleu.DATASETS[test_set].data)
        cause = "wrong checksum" if isinstance(error, SystemExit) else error
        raise InputError(
            f"{test_set}: sacrebleu could not fetch {pair} from {urls}: {cause}; "
            f"before another try: rm -r {Path(sacrebleu.SACREBLEU_DIR, test_set)}"
        ) from error
    return Path(source), Path(reference)


def main(test_set: str, pair: str, source: Path, target: Path, manifest: Path) -> None:
    """Write both sides of a test set, one sentence a line, and their checksums."""
    sentences = 0
    with write_lines(source) as write_source, write_lines(target) as write_target:
        for ours, theirs in read_pairs(*fetch(test_set, pair)):
            write_source(ours)
            write_target(theirs)
            sentences += 1
    files = {"source": source, "target": target}
    write_manifest(manifest, files, test_set=test_set, sentences=sentences)


if __name__ == "__main__":
    with job(snakemake):
        wildcards, output = snakemake.wildcards, snakemake.output
        main(
            wildcards.test_set,
            sacrebleu_pair(f"{wildcards.source}-{wildcards.target}"),
            Path(output.source),
            Path(output.target),
            Path(output.manifest),
        )
