"""fairseq's binary data."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fairseq.data import Dictionary


def count(path: Path, dictionary: "Dictionary") -> dict[str, int]:
    """Return the sentences, tokens (with an end mark each sentence) and unknowns of a .bin file."""
    # Here and not above: fairseq logs as it is imported, which goes into the log of a job only
    # once that has begun, and tears the bars of a logger plugin before.
    from fairseq.data.indexed_dataset import best_fitting_int_dtype

    tokens = np.memmap(path, dtype=best_fitting_int_dtype(len(dictionary)), mode="r")
    return {
        "sentences": int(np.count_nonzero(tokens == dictionary.eos())),
        "tokens": tokens.size,
        "unknown": int(np.count_nonzero(tokens == dictionary.unk())),
    }
