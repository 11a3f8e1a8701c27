"""Scores of the finished models on text that they were not trained on, side by side."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from ..vocabulary import FACETS

SIGNATURES = ["BLEU signature", "chrF signature"]
"""The columns that say how sacrebleu counted."""

MIN_LOSS_DROP = 0.1
"""A loss that is lower than another by a smaller share of it: the model has hardly learned."""


def unlearned(scores: pd.DataFrame) -> pd.Series:
    """Return on which test sets a model is hardly better than the frequencies of words.

    `scores` as of `score.COLUMNS`. A unigram model knows the frequencies of the training text.
    """
    losses = scores["loss"].fillna(scores["masked_loss"])
    return losses > (1 - MIN_LOSS_DROP) * scores["unigram_loss"]


def table(scores: pd.DataFrame, runs: Iterable[tuple[object, ...]]) -> pd.DataFrame:
    """Return a row for each of the `runs` (values of FACETS) and test set, in their order.

    `scores` as of `score.COLUMNS`, with the runs' facets. Perplexities are the exponentials of the
    losses: per predicted token, a BPE piece or the end of a line, and per word, the same sum of
    nats over the words (characters, in scripts without blanks) and ends of lines, so that
    vocabularies can be compared. A run without scores has a row too.
    """
    rows = pd.DataFrame(runs, columns=FACETS).merge(scores, how="left", on=FACETS)
    nats = rows["loss"] * rows["tokens"].astype(float)
    columns = {
        "test set": rows["test_set"],
        "sentences": rows["sentences"],
        "loss": rows["loss"],
        "perplexity": np.exp(rows["loss"]),
        "perplexity per word": np.exp(nats / rows["words"].astype(float)),
        "masked loss": rows["masked_loss"],
        "masked perplexity": np.exp(rows["masked_loss"]),
        "unigram loss": rows["unigram_loss"],
        "BLEU": rows["bleu"],
        "chrF": rows["chrf"],
        **dict(zip(SIGNATURES, (rows["bleu_signature"], rows["chrf_signature"]), strict=True)),
    }
    return rows[FACETS].assign(**columns)
