"""When blocks learned, and how often they hurt (paper, section 4.4 and table 1)."""

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lca.analysis import logs

from ..vocabulary import BLOCK
from .arrays import Floats


def milestones(log: Path) -> pd.DataFrame:
    """Return, for every estimator recorded and every block, when its LCA was what.

    Columns: estimator, stack, layer, component, total (LCA summed over all updates, nats per
    predicted token), positive_updates (updates whose LCA was positive), last_positive (the last of
    them, 0 if there is none), largest (the largest LCA of an update), t50 and t90 (the first update
    by which the cumulative sum had reached 50 % and 90 % of the total; missing if the total is not
    negative).
    """
    blocks = logs.blocks(log)[BLOCK]
    frames = []
    for estimator in logs.estimators(log):
        rows = map(_milestones, logs.block_rows(log, estimator, "sum"))
        frames.append(blocks.join(pd.DataFrame(rows)))
        frames[-1].insert(0, "estimator", estimator)
    return pd.concat(frames, ignore_index=True).astype({"t50": "Int32", "t90": "Int32"})


def _milestones(sums: NDArray[np.floating]) -> dict[str, float | None]:
    """Return the milestones of one block from its LCA at every update."""
    cumulative = sums.cumsum(dtype=np.float64)
    total = cumulative[-1]
    positive = np.flatnonzero(sums > 0) + 1
    return {
        "total": total,
        "positive_updates": len(positive),
        "last_positive": positive[-1] if len(positive) else 0,
        "largest": sums.max(),
        "t50": _reaches(cumulative, 0.5 * total),
        "t90": _reaches(cumulative, 0.9 * total),
    }


def _reaches(cumulative: Floats, level: float) -> int | None:
    """Return the first update by which the cumulative LCA is down to a negative `level`."""
    return int(np.argmax(cumulative <= level)) + 1 if level < 0 else None
