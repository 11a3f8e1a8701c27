"""When blocks raised the loss, beyond what the noise of single batches explains (section 4.4).

Under own-batch, the value of a single update says something: that a block rose on the batch it was
made for. Under next-batch it is mostly the noise of one batch, and nearly half of all updates are
above 0; under the trapezoid it is the mean of a stride, on little text. There, a block hurts in a
window of updates if its sum over the window is significantly above 0. Windows are the blocks of
updates of `resampling.Blocks`.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import t as student

from ..vocabulary import BLOCK, COMPONENTS, FACETS
from .arrays import Floats, Integers
from .quantities import apart, per_window
from .resampling import FREEDOM, Blocks

SINGLE_UPDATES = ("own_batch",)
"""The estimators of which single updates are looked at, as in the paper."""

COUNTED = (*COMPONENTS, "embeddings")
"""The components of Table 1."""

LEVEL = 0.05
"""How probable it is that some window of a run is counted though only noise is above 0 there."""

NEIGHBOURS = 10
"""Windows on either side whose deviations say how large the noise is."""


def errors(blocks: Blocks, sums: Floats, apart: Sequence[Floats] = ()) -> Floats:
    """Return the standard error of each sum (block, place) by how those near it deviate, and by
    what groups of text stand `apart` (window, place)."""
    deviations = blocks.deviations(sums)
    first, last = _near(len(deviations))
    squares = np.cumsum(np.pad(deviations, ((1, 0), (0, 0))) ** 2, axis=0)
    variance = (squares[last] - squares[first]) / (last - first)[:, None]
    return np.sqrt(variance + sum(blocks.sums(group) ** 2 for group in apart))


def critical(windows: int, places: int) -> Floats:
    """Return how many standard errors above 0 is significant in each window, shape (window, 1).

    One-sided, with Bonferroni's correction for all windows and places of a run.
    """
    return exceeded(windows, LEVEL / (windows * places))


def exceeded(windows: int, probability: float) -> Floats:
    """Return how many standard errors above the truth a sum is with a probability, (window, 1)."""
    first, last = _near(windows)
    freedom = np.maximum(1, FREEDOM * (last - first))
    limits: Floats = student.isf(probability, freedom)
    return limits[:, None]


def milestones(curves: pd.DataFrame) -> pd.DataFrame:
    """Return for every block of a run how often, until when and how much it hurt significantly.

    `curves` of one run and estimator. The columns are those of `milestones.milestones`, but of
    windows in place of updates: positive_updates (how many windows), last_positive (the last update
    of the last of them, 0 if there is none), largest (the largest sum over one of them, nats per
    predicted token; NaN if there is none); and `window`, the updates of a window.
    """
    counted = curves[curves["component"].isin(COUNTED)]
    lca = -per_window(counted)
    blocks = Blocks(lca.index.to_numpy())
    sums = blocks.sums(lca.to_numpy())
    groups = [frame.to_numpy() for frame in apart(counted)]
    significant = sums > critical(*sums.shape) * errors(blocks, sums, groups)
    ends = np.where(significant, blocks.edges[1:, None], 0)
    rows = lca.columns.to_frame(index=False)[BLOCK].assign(
        positive_updates=significant.sum(axis=0),
        last_positive=ends.max(axis=0),
        largest=np.where(significant, sums, -np.inf).max(axis=0),
        window=blocks.edges[1],
    )
    rows["largest"] = rows["largest"].replace(-np.inf, np.nan)
    return rows.assign(**curves.iloc[0][FACETS])


def _near(windows: int) -> tuple[Integers, Integers]:
    """Return for each window the first that is near it, and the one after the last."""
    at = np.arange(windows)
    return np.maximum(at - NEIGHBOURS, 0), np.minimum(at + NEIGHBOURS + 1, windows)
