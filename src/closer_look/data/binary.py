"""fairseq's binary data."""

from pathlib import Path

import numpy as np
from fairseq.data import Dictionary
from fairseq.data.indexed_dataset import best_fitting_int_dtype


def count(path: Path, dictionary: Dictionary) -> dict[str, int]:
    """Return the sentences, tokens (with an end mark each sentence) and unknowns of a .bin file."""
    tokens = np.memmap(path, dtype=best_fitting_int_dtype(len(dictionary)), mode="r")
    return {
        "sentences": int(np.count_nonzero(tokens == dictionary.eos())),
        "tokens": tokens.size,
        "unknown": int(np.count_nonzero(tokens == dictionary.unk())),
    }
