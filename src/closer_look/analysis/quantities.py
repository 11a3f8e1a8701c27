"""The contributions of blocks over time."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..vocabulary import BLOCK


def per_window(curves: pd.DataFrame, of: Sequence[str] = BLOCK) -> pd.DataFrame:
    """Return the contributions of one run over time: a row per window, a column per block.

    Rows are named after the last update of their window, columns by `of`: (stack, layer,
    component), for curves of heads with the head. Nats per predicted token; up is a fall.
    """
    means = curves.pivot(index="update", columns=list(of), values="sum").astype(float)
    return -means.mul(np.diff(means.index, prepend=0), axis="index")
