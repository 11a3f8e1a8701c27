"""Read the aligned sentences of a downloaded OPUS corpus with `opus_read`."""

import io
import tempfile
import zipfile
from pathlib import Path

from command import run
from job import InputError, job
from manifest import write_manifest
from opus import check_archive, corpus_files, local_name
from text import decode_lines, read_pairs, write_lines


def check_moses(path: Path, languages: list[str]) -> int:
    """Return the number of sentence pairs in an OPUS archive of format "moses".

    `opus_read` copies the two members without comparing them. One that is missing, shorter than
    the other or not UTF-8 is an `InputError`.
    """
    counts = {}
    with zipfile.ZipFile(path) as archive:
        for language in languages:
            suffix = f".{language}"
            member = next((m for m in archive.namelist() if m.endswith(suffix)), None)
            if member is None:
                raise InputError(f"{path}: no member *{suffix}")
            with io.BufferedReader(archive.open(member)) as file:
                counts[member] = sum(1 for _ in decode_lines(f"{path}: {member}", file))
    if len(set(counts.values())) != 1:
        sizes = ", ".join(f"{member} has {count}" for member, count in counts.items())
        raise InputError(f"{path}: sides of unequal length in lines: {sizes}")
    return counts[member]


def opus_read(
    folder: Path, corpus: dict, source: str, target: str, source_text: Path, target_text: Path
) -> None:
    """Run `opus_read`; a document that it would only warn about and skip is an `InputError`."""
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


def read(
    folder: str | Path,
    corpus: dict,
    source: str,
    target: str,
    source_text: str | Path,
    target_text: str | Path,
) -> int:
    """Write the sentences of the two languages, line by line aligned; return their number.

    `folder` holds the files of the corpus as `download` leaves them. With all of them there and
    intact, `opus_read` does not turn to the network.
    """
    files = [Path(folder) / local_name(path) for path in corpus_files(corpus, source, target)]
    for file in files:
        check_archive(file, name=file)
    expected = check_moses(files[0], [source, target]) if corpus["format"] == "moses" else None

    pairs = 0
    with tempfile.TemporaryDirectory() as temporary:
        plain = Path(temporary, "source"), Path(temporary, "target")
        opus_read(Path(folder), corpus, source, target, *plain)
        with write_lines(source_text) as write_source, write_lines(target_text) as write_target:
            for source_line, target_line in read_pairs(*plain):
                write_source(source_line)
                write_target(target_line)
                pairs += 1
            if expected not in (None, pairs):
                raise InputError(
                    f"{files[0]}: carriage returns inside lines, which opus_read takes for line "
                    f"ends: {pairs} pairs instead of {expected}; use another corpus `format`"
                )
    return pairs


if __name__ == "__main__":
    with job(snakemake):
        output = snakemake.output
        pairs = read(
            snakemake.input.folder,
            snakemake.params.corpus,
            snakemake.params.source,
            snakemake.params.target,
            output.source,
            output.target,
        )
        files = {"source": output.source, "target": output.target}
        write_manifest(output.manifest, files, pairs=pairs)
