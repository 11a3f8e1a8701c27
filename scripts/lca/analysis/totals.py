"""LCA summed over all updates, per block and per head (paper, figures 1 and 3)."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from . import logs


def totals(log: Path) -> pd.DataFrame:
    """Return the sum over all updates of every block and head, for every estimator recorded.

    Columns: estimator, stack, layer, component, head (0: the whole block), elements (its number of
    parameters), lca (nats per predicted token; negative where the loss was lowered).
    """
    columns = ["stack", "layer", "component", "head", "elements"]
    blocks, heads = logs.blocks(log).assign(head=0), logs.heads(log)
    frames = []
    for estimator in logs.estimators(log):
        for labels, rows in (
            (blocks, logs.block_rows(log, estimator, "sum")),
            (heads, logs.head_rows(log, estimator)),
        ):
            frames.append(labels[columns].assign(lca=_sums(rows)))
            frames[-1].insert(0, "estimator", estimator)
    return pd.concat(frames, ignore_index=True)


def _sums(rows: Iterator[np.ndarray]) -> list[float]:
    return [row.sum(dtype=np.float64) for row in rows]
