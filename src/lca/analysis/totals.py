"""LCA summed over all updates, per block and per head (paper, figures 1 and 3)."""

from pathlib import Path

import numpy as np
import pandas as pd

from . import logs

LABELS = ["stack", "layer", "component", "head", "elements"]


def totals(log: Path, head_curves: pd.DataFrame) -> pd.DataFrame:
    """Return the sum over all updates of every block and head, for every estimator recorded.

    `head_curves` as of `lca.analysis.curves`: their windows are added up, since the heads are most
    of the log, which would be read once more. Columns: estimator, stack, layer, component, head
    (0: the whole block), elements (its number of parameters), lca (nats per predicted token;
    negative where the loss was lowered).
    """
    blocks = logs.blocks(log).assign(head=0)[LABELS]
    heads = logs.heads(log)[LABELS]
    of_heads = _sums(head_curves)
    frames = []
    for estimator in logs.estimators(log):
        sums = [row.sum(dtype=np.float64) for row in logs.block_rows(log, estimator, "sum")]
        frames.append(blocks.assign(estimator=estimator, lca=sums))
        frames.append(heads.assign(estimator=estimator).merge(of_heads))
    return pd.concat(frames, ignore_index=True)[["estimator", *LABELS, "lca"]]


def _sums(head_curves: pd.DataFrame) -> pd.DataFrame:
    """Return the sum of each curve, whose values are means over the windows' updates."""
    keys = ["estimator", *LABELS[:-1]]
    groups = head_curves.groupby(keys, sort=False)
    widths = groups["update"].diff().fillna(head_curves["update"])
    sums = head_curves["sum"].astype(float) * widths
    return head_curves[keys].assign(lca=sums).groupby(keys, as_index=False, sort=False).sum()
