"""Learn a BPE vocabulary with SentencePiece and list it for fairseq."""

import io
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import sentencepiece

from closer_look.data.dropped import check_dropped
from closer_look.data.sentences import NORMALIZATION
from closer_look.data.text import LONGEST_LINE, read_lines
from closer_look.jobs.job import InputError, job, tell
from closer_look.jobs.manifest import write_manifest

RESERVED = "\u2585"
"""A character that SentencePiece uses itself: it skips the lines that have it."""


class Lines:
    """The lines of files, for SentencePiece; counted while it goes through them."""

    def __init__(self, text: Sequence[str | Path]) -> None:
        self.text, self.number, self.reserved = text, 0, 0

    def __iter__(self) -> Iterator[str]:
        for line in chain.from_iterable(map(read_lines, self.text)):
            self.number += 1
            self.reserved += RESERVED in line
            yield line


def train_model(lines: Lines, vocab_size: int, sample: int) -> bytes:
    """Return a SentencePiece BPE model of all lines.

    `vocab_size` counts the pieces and fairseq's four special symbols. Of more than `sample` (over
    100) lines, that many are drawn at random, the same each time: SentencePiece has a seed of its
    own. Each takes about 1 kB of memory. A size that the text cannot give is an `InputError`.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            normalization_rule_name=NORMALIZATION,
            max_sentence_length=LONGEST_LINE,  # otherwise it skips what is over 4192 bytes
            character_coverage=1.0,
            input_sentence_size=sample,
            shuffle_input_sentence=True,
            pad_id=3,  # reserves <pad>, which fairseq's dictionary must not hold twice
            num_threads=1,  # no use in BPE, and the number becomes part of the model
        )
    except RuntimeError as error:
        message = str(error).rpartition("] ")[2]
        if message.startswith("Vocabulary size is smaller"):
            least = message.partition(" vs ")[2].partition(".")[0]
            message = f"{vocab_size} is less than the text has different characters ({least})"
            raise InputError(f"bpe.vocab_size: {message}") from error
        if message.startswith("Vocabulary size"):
            raise InputError(f"bpe.vocab_size: {message}") from error
        if lines.number == lines.reserved:
            raise InputError(f"{lines.text[0]}: no line for SentencePiece to learn from") from error
        raise
    return model.getvalue()


def list_pieces(model: bytes) -> list[str]:
    """Return the pieces of a model in its order, without the special symbols."""
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    return [
        processor.id_to_piece(index)
        for index in range(len(processor))
        if not (processor.is_control(index) or processor.is_unknown(index))
    ]


def learn_bpe(
    text: list[str | Path],
    model: str | Path,
    dictionary: str | Path,
    vocab_size: int,
    sample: int,
    max_dropped: float = 1,
) -> dict[str, int]:
    """Write the model and its pieces in fairseq's dictionary format; return what there is to count.

    fairseq puts its own special symbols before them, which makes `vocab_size` entries. If
    SentencePiece skips more than the share `max_dropped` of the lines, that is an `InputError`.
    """
    lines = Lines(text)
    learned = train_model(lines, vocab_size, sample)
    if lines.reserved:
        tell(
            f"{text[0]}: {lines.reserved} lines have U+2585, which SentencePiece skips in learning"
        )
    skipped = {"with U+2585, which SentencePiece reserves": lines.reserved}
    check_dropped(f"{text[0]}: of the lines", skipped, lines.number, max_dropped)
    pieces = list_pieces(learned)
    Path(model).write_bytes(learned)
    Path(dictionary).write_text("".join(f"{piece} 1\n" for piece in pieces), encoding="utf-8")
    return {"pieces": len(pieces), "lines": lines.number, "skipped": lines.reserved}


if __name__ == "__main__":
    with job(snakemake):
        output = snakemake.output
        facts = learn_bpe(
            snakemake.input.text,
            output.model,
            output.dictionary,
            snakemake.params.vocab_size,
            snakemake.params.sample,
            snakemake.config["cleaning"]["max_dropped"],
        )
        files = {"model": output.model, "dictionary": output.dictionary}
        write_manifest(output.manifest, files, **facts)
