"""The contributions of blocks over time."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from ..vocabulary import BLOCK


def per_window(
    curves: pd.DataFrame, of: Sequence[str] = BLOCK, values: str = "sum"
) -> pd.DataFrame:
    """Return the contributions of one run over time: a row per window, a column per block.

    Rows are named after the last update of their window, columns by `of`: (stack, layer,
    component), for curves of heads with the head. Nats per predicted token; up is a fall. `values`
    may be another mean over the window's updates.
    """
    means = curves.pivot(index="update", columns=list(of), values=values).astype(float)
    return -means.mul(np.diff(means.index, prepend=0), axis="index")


def apart(curves: pd.DataFrame, of: Sequence[str] = BLOCK) -> list[pd.DataFrame]:
    """Return by how much each group of the trapezoid's text moves `per_window`, in frames of the
    same shape; none where the estimator has no groups."""
    names = [name for name in curves.columns if name.startswith("apart_")]
    return [per_window(curves, of, name) for name in names if curves[name].notna().any()]
