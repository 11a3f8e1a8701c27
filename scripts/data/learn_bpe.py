"""Learn a BPE vocabulary with SentencePiece and list it for fairseq."""

import io
from itertools import chain
from pathlib import Path

import sentencepiece

from closer_look.data.text import read_lines
from closer_look.jobs.job import InputError, job
from closer_look.jobs.manifest import write_manifest


def train_model(text: list[str | Path], vocab_size: int, sample: int) -> bytes:
    """Return a SentencePiece BPE model of the lines of all files together.

    `vocab_size` counts the pieces and fairseq's four special symbols. Of more than `sample` (over
    100) lines, that many are drawn at random, the same each time: SentencePiece has a seed of its
    own. Each takes about 1 kB of memory. A size that the text cannot give is an `InputError`.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=chain.from_iterable(map(read_lines, text)),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            character_coverage=1.0,
            input_sentence_size=sample,
            shuffle_input_sentence=True,
            pad_id=3,  # reserves <pad>, which fairseq's dictionary must not hold twice
            num_threads=1,  # no use in BPE, and the number becomes part of the model
        )
    except RuntimeError as error:
        message = str(error).rpartition("] ")[2]
        if message.startswith("Vocabulary size"):
            raise InputError(f"vocab_size: {message}") from error
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
) -> int:
    """Write the model and its pieces in fairseq's dictionary format; return their number.

    fairseq puts its own special symbols before them, which makes `vocab_size` entries.
    """
    learned = train_model(text, vocab_size, sample)
    pieces = list_pieces(learned)
    Path(model).write_bytes(learned)
    Path(dictionary).write_text("".join(f"{piece} 1\n" for piece in pieces), encoding="utf-8")
    return len(pieces)


if __name__ == "__main__":
    with job(snakemake):
        output = snakemake.output
        pieces = learn_bpe(
            snakemake.input.text,
            output.model,
            output.dictionary,
            snakemake.params.vocab_size,
            snakemake.params.sample,
        )
        files = {"model": output.model, "dictionary": output.dictionary}
        write_manifest(output.manifest, files, pieces=pieces)
