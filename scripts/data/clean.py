"""Drop the sentence pairs that are empty, too long, misaligned or repeated."""

from collections.abc import Iterator
from hashlib import blake2b
from itertools import islice
from pathlib import Path

from closer_look.data.dropped import check_dropped
from closer_look.data.sentences import count_letters, measure, normalised
from closer_look.data.text import read_pairs, write_lines
from closer_look.jobs.job import InputError, job
from closer_look.jobs.manifest import write_manifest

BATCH = 10_000  # pairs in memory at a time


def normalise(line: str) -> str:
    """Return a line with single blanks between its words and no other whitespace."""
    return " ".join(line.split())


def fault(
    sides: tuple[str, str],
    lengths: tuple[tuple[int, int], tuple[int, int]],
    max_words: int,
    max_ratio: float,
) -> str | None:
    """Return why a pair should go (empty, long, ratio), or None if it is fit.

    The limits are those of Moses' clean-corpus-n, in words; where a script has no blanks, each of
    its characters counts as one. As characters cannot be compared with words, the ratio is then
    that of both sides' characters.
    """
    if not all(sides):
        return "empty"
    (source_words, source_characters), (target_words, target_characters) = lengths
    sizes = source_words + source_characters, target_words + target_characters
    if max(sizes) > max_words:
        return "long"
    if source_characters or target_characters:
        sizes = tuple(map(count_letters, sides))
    return "ratio" if max(sizes) > max_ratio * min(sizes) else None


def clean(
    source: str | Path,
    target: str | Path,
    clean_source: str | Path,
    clean_target: str | Path,
    max_words: int,
    max_ratio: float,
) -> tuple[dict[str, int], dict[str, int], int]:
    """Write the fit pairs, each once, whitespace normalised, in their order.

    Text is empty, or repeated, if it is for SentencePiece, which see `normalised`. Returns the
    number of pairs kept and of those dropped for each reason (the first that holds of empty, long,
    ratio, duplicate), of each side's lines that were kept those measured in characters, and how
    many pairs that were kept have the same text on both sides. Remembers a hash of each pair kept,
    some 90 bytes of memory.
    """
    counts = dict.fromkeys(("kept", "empty", "long", "ratio", "duplicate"), 0)
    source_in_characters = target_in_characters = alike = 0
    seen = set()
    with write_lines(clean_source) as write_source, write_lines(clean_target) as write_target:
        for lines, sides in _with_normalised(read_pairs(source, target)):
            lengths = tuple(map(measure, sides))
            reason = fault(sides, lengths, max_words, max_ratio)
            if reason is None:
                digest = blake2b("\t".join(sides).encode(), digest_size=8).digest()
                if digest in seen:
                    reason = "duplicate"
                else:
                    seen.add(digest)
                    write_source(lines[0])
                    write_target(lines[1])
                    source_in_characters += lengths[0][1] > 0
                    target_in_characters += lengths[1][1] > 0
                    alike += sides[0] == sides[1]
            counts[reason or "kept"] += 1
    return counts, {"source": source_in_characters, "target": target_in_characters}, alike


def _with_normalised(
    pairs: Iterator[tuple[str, str]],
) -> Iterator[tuple[tuple[str, str], tuple[str, str]]]:
    """Yield each pair with single blanks, and as SentencePiece sees it."""
    while batch := list(islice(pairs, BATCH)):
        blanks = [tuple(map(normalise, pair)) for pair in batch]
        sides = map(normalised, zip(*blanks, strict=True))
        yield from zip(blanks, zip(*sides, strict=True), strict=True)


def reasons(counts: dict[str, int], max_words: int, max_ratio: float) -> dict[str, int]:
    """Return the number of pairs dropped by the reason in words."""
    return {
        "empty": counts["empty"],
        f"too long (cleaning.max_words: {max_words})": counts["long"],
        f"by ratio (cleaning.max_ratio: {max_ratio})": counts["ratio"],
        "duplicate": counts["duplicate"],
    }


def check_alike(what: str, alike: int, kept: int, most: float) -> None:
    """Raise `InputError` if more than the share `most` of the pairs are a text and itself."""
    if alike > most * kept:
        raise InputError(
            f"{what}: {alike} of {kept} pairs have the same text in both languages: is one file "
            f"the other's copy? If that is meant, raise cleaning.max_dropped ({most})"
        )


if __name__ == "__main__":
    with job(snakemake):
        given, output, limits = snakemake.input, snakemake.output, snakemake.params
        counts, in_characters, alike = clean(
            given.source,
            given.target,
            output.source,
            output.target,
            limits.max_words,
            limits.max_ratio,
        )
        # No parameter of the rule: what is kept does not depend on it.
        max_dropped = snakemake.config["cleaning"]["max_dropped"]
        why = reasons(counts, limits.max_words, limits.max_ratio)
        check_dropped(f"{given.source}: of the pairs", why, sum(counts.values()), max_dropped)
        check_alike(given.source, alike, counts["kept"], max_dropped)
        files = {"source": output.source, "target": output.target}
        write_manifest(
            output.manifest,
            files,
            pairs=counts,
            alike=alike,
            units={
                side: "characters" if number > counts["kept"] / 2 else "words"
                for side, number in in_characters.items()
            },
            lines_in_characters=in_characters,
        )
