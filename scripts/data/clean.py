"""Drop the sentence pairs that are empty, too long, misaligned or repeated."""

from hashlib import blake2b
from pathlib import Path

from closer_look.data.text import read_pairs, write_lines
from closer_look.jobs.job import job
from closer_look.jobs.manifest import write_manifest


def normalise(line: str) -> str:
    """Return a line with single blanks between its words and no other whitespace."""
    return " ".join(line.split())


def fault(source: str, target: str, max_words: int, max_ratio: float) -> str | None:
    """Return why a normalised pair should go (empty, long, ratio), or None if it is fit.

    Words are what blanks separate; the limits are those of Moses' clean-corpus-n.
    """
    if not source or not target:
        return "empty"
    short, long = sorted((source.count(" ") + 1, target.count(" ") + 1))
    if long > max_words:
        return "long"
    if long > max_ratio * short:
        return "ratio"
    return None


def clean(
    source: str | Path,
    target: str | Path,
    clean_source: str | Path,
    clean_target: str | Path,
    max_words: int,
    max_ratio: float,
) -> dict[str, int]:
    """Write the fit pairs, each once, whitespace normalised, in their order.

    Returns the number of pairs kept and of those dropped for each reason (the first that holds
    of empty, long, ratio, duplicate). Remembers a hash of each pair kept, some 90 bytes of memory.
    """
    counts = dict.fromkeys(("kept", "empty", "long", "ratio", "duplicate"), 0)
    seen = set()
    with write_lines(clean_source) as write_source, write_lines(clean_target) as write_target:
        for lines in read_pairs(source, target):
            source_line, target_line = map(normalise, lines)
            reason = fault(source_line, target_line, max_words, max_ratio)
            if reason is None:
                pair = f"{source_line}\t{target_line}".encode()
                digest = blake2b(pair, digest_size=8).digest()
                if digest in seen:
                    reason = "duplicate"
                else:
                    seen.add(digest)
                    write_source(source_line)
                    write_target(target_line)
            counts[reason or "kept"] += 1
    return counts


if __name__ == "__main__":
    with job(snakemake):
        output = snakemake.output
        counts = clean(
            snakemake.input.source,
            snakemake.input.target,
            output.source,
            output.target,
            snakemake.params.max_words,
            snakemake.params.max_ratio,
        )
        files = {"source": output.source, "target": output.target}
        write_manifest(output.manifest, files, pairs=counts)
