"""Score a finished model on text that it was not trained on: its loss, BLEU and chrF.

The corpus's own test split is called `test`; other test sets have sacrebleu's names.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd

from closer_look.analysis.frames import with_run, write
from closer_look.config import Run
from closer_look.data.sentences import measure, normalised
from closer_look.data.text import read_lines, read_pairs
from closer_look.jobs.cards import check_kernels, claimed
from closer_look.jobs.job import InputError, job, tell
from closer_look.jobs.manifest import check_bpe, check_folder, read_manifest, sha256
from closer_look.training import checkpoints

if TYPE_CHECKING:
    from closer_look.training.trained_model import TrainedModel

OWN = "test"

COLUMNS = {
    "test_set": "str",
    "sentences": "Int64",
    "words": "Int64",
    "tokens": "Int64",
    "loss": "float64",
    "masked_loss": "float64",
    "unigram_loss": "float64",
    "bleu": "float64",
    "chrf": "float64",
    "bleu_signature": "str",
    "chrf_signature": "str",
}
"""Of the table of scores, a row for each test set; what a model has not is missing.

Losses are in nats per predicted token (BPE piece or end of a line), and `tokens` is the number of
them. `loss` is of all; `masked_loss`, of a masked model, of those under masks that are the same in
all runs; `unigram_loss` of all, by the frequencies of the training text alone. `words` are those
between blanks, characters where a script has no blanks, and the ends of the lines. BLEU and chrF
are sacrebleu's.
"""


class TestSet(NamedTuple):
    """Text to score on, one sentence a line; of a language model both sides are the same."""

    name: str
    source: Path
    reference: Path


def find_checkpoint(manifest: Path) -> Path:
    """Return a finished training's checkpoint. Raises `InputError` if it is gone or another."""
    facts = read_manifest(manifest)
    checkpoint = Path(facts["state"]) / "checkpoints" / checkpoints.LAST
    if not checkpoint.exists() or sha256(checkpoint) != facts["checkpoint_sha256"]:
        raise InputError(
            f"{checkpoint}: the model that made {manifest.with_name('log.parquet')} is gone; "
            f"`snakemake --forcerun train -- {manifest}` makes it again"
        )
    return checkpoint


def unigram_loss(data: Path, target: str | None) -> float:
    """Return the test split's cross-entropy under the frequencies of the training text.

    In nats per token, with each count raised by one. `target` is the language of translations.
    """
    import numpy as np
    from fairseq.data import Dictionary
    from fairseq.data.indexed_dataset import best_fitting_int_dtype

    entries = len(Dictionary.load(str(data / (f"dict.{target}.txt" if target else "dict.txt"))))

    def counts(split: str) -> np.ndarray:
        (path,) = data.glob(f"{split}.*.{target}.bin" if target else f"{split}.bin")
        tokens = np.memmap(path, dtype=best_fitting_int_dtype(entries), mode="r")
        parts = np.array_split(tokens, 1 + tokens.size // 10_000_000)  # bincount makes them int64
        return sum(np.bincount(part, minlength=entries) for part in parts)

    seen, asked = counts("train") + 1, counts(OWN)
    return float(asked @ np.log(seen.sum() / seen) / asked.sum())


TOKENIZERS = {
    "zh": ("zh", "zho", "cmn", "yue", "wuu", "lzh", "nan", "hak", "gan", "zhs", "zht", "chn"),
    "ja-mecab": ("ja", "jpn", "jap"),
    "ko-mecab": ("ko", "kor"),
    "char": ("th", "tha", "lo", "lao", "km", "khm", "my", "mya", "bo", "bod", "dz", "dzo"),
}
"""sacrebleu's tokenizers of languages without blanks, and Korean, by the base of their codes. For
those that it has none for, BLEU is of characters."""


def tokenizer(language: str, references: Sequence[str] = ()) -> str:
    """Return sacrebleu's tokenizer for a language, whose code may have a region or script.

    Of other languages the text tells: if most references are in a script without blanks, as those
    in Shan or Mon are, BLEU is of characters too.
    """
    base = language.split("_")[0]
    for name, bases in TOKENIZERS.items():
        if base in bases:
            return name
    lengths = map(measure, normalised(references))
    unspaced = sum(characters > words for words, characters in lengths)
    return "char" if unspaced > len(references) / 2 else "13a"


def bleu_and_chrf(translations: list[str], references: list[str], target: str) -> dict:
    """Return both scores, of 100, and their signatures; BLEU's words are by `tokenizer`."""
    from sacrebleu.metrics import BLEU, CHRF

    scores = {}
    for name, metric in (("bleu", BLEU(tokenize=tokenizer(target, references))), ("chrf", CHRF())):
        scores[name] = metric.corpus_score(translations, [references]).score
        scores[f"{name}_signature"] = str(metric.get_signature())
    return scores


def main(
    run: Run,
    test_sets: list[TestSet],
    manifest: Path,
    data: Path,
    bpe: Path,
    beam: int,
    sentences: int | None,
    threads: int,
    scores: Path,
) -> None:
    """Write the table of a run's scores, whose columns are the run's facets and `COLUMNS`.

    `data` and `bpe` are what the model was trained on. A translation model translates the first
    `sentences` of each test set, None for all, with `beam` hypotheses at a time.
    """
    rows = []
    if test_sets:
        check_bpe(bpe)
        with loaded(manifest, data, threads) as model:
            target = run.languages.split("-")[1] if run.objective == "mt" else None
            for test_set in test_sets:
                row = {"test_set": test_set.name}
                if test_set.name == OWN:
                    settings = read_manifest(manifest)["settings"]
                    row |= _losses(model, run, data, target, test_set.reference, settings)
                if target:
                    row |= _translation(model, test_set, bpe, beam, sentences, target)
                rows.append(row)
    frame = pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
    write(with_run(frame, run), scores)


@contextmanager
def loaded(manifest: Path, data: Path, threads: int) -> Iterator["TrainedModel"]:
    """Yield a finished training's model, on a card of its own where there is one.

    Raises `InputError` if its checkpoint or its data is not what it was.
    """
    checkpoint = find_checkpoint(manifest)
    checkpoints.read(checkpoint)  # as plain data, before fairseq unpickles it
    check_folder(data, data.with_name(f"{data.name}.json"))
    import torch

    torch.set_num_threads(threads)
    with claimed(min(1, torch.cuda.device_count())):
        check_kernels()
        from closer_look.training.trained_model import TrainedModel

        yield TrainedModel(checkpoint, data)


def _losses(model, run: Run, data: Path, target: str | None, text: Path, settings: dict) -> dict:
    """Return what is to be said of the corpus's own test split, but for what is too long."""
    from closer_look.training.left_out import is_left_out

    total = model.loss(OWN)
    too_long = is_left_out(data, OWN, run.objective, run.languages, settings)
    if too_long.any():
        tell(f"{run.name}: {too_long.sum()} of {len(too_long)} test sentences are too long for it")
    lines = [line for line, long in zip(read_lines(text), too_long, strict=True) if not long]
    return {
        "masked_loss" if run.objective == "mlm" else "loss": total.nats / total.tokens,
        "tokens": total.tokens,
        "unigram_loss": unigram_loss(data, target),
        "sentences": len(lines),
        "words": sum(sum(measure(line)) + 1 for line in normalised(lines)),
    }


def _translation(
    model, test_set: TestSet, bpe: Path, beam: int, sentences: int | None, target: str
) -> dict:
    """Translate a test set; return its scores, and print how the first sentences fared."""
    pairs = islice(read_pairs(test_set.source, test_set.reference), sentences)
    sources, references = map(list, zip(*pairs, strict=True))
    translations = model.translate(sources, bpe, beam)
    for triple in islice(zip(sources, translations, references, strict=True), 5):
        print(test_set.name, *triple, sep="\n  ")
    return {"sentences": len(sources)} | bleu_and_chrf(translations, references, target)


if __name__ == "__main__":
    with job(snakemake):
        given, facets = snakemake.input, dict(snakemake.wildcards.items())
        main(
            run=Run(**facets | {"seed": int(facets["seed"])}),
            test_sets=[
                TestSet(name, Path(source), Path(reference))
                for name, source, reference in zip(
                    snakemake.params.test_sets, given.sources, given.references, strict=True
                )
            ],
            manifest=Path(given.manifest),
            data=Path(given.data),
            bpe=Path(given.bpe),
            beam=snakemake.params.beam,
            sentences=snakemake.params.sentences,
            threads=snakemake.threads,
            scores=Path(snakemake.output.scores),
        )
