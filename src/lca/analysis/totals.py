"""LCA summed over all updates, per block and per head (paper, figures 1 and 3)."""

from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from . import logs
from .uncertainty import mean_error, sum_error
from .windows import Windows

LABELS = ["stack", "layer", "component", "head", "elements"]


def totals(log: Path, head_curves: pd.DataFrame) -> pd.DataFrame:
    """Return the sum over all updates of every block and head, for every estimator recorded.

    `head_curves` as of `lca.analysis.curves`: their windows are added up, since the heads are most
    of the log, which would be read once more. Columns: estimator, stack, layer, component, head
    (0: the whole block), elements (its number of parameters), lca (nats per predicted token;
    negative where the loss was lowered), se (its standard error, from its scatter over time, of the
    trapezoid from the groups of its text; see `uncertainty`).
    """
    blocks = logs.blocks(log).assign(head=0)[LABELS]
    heads = logs.heads(log)[LABELS]
    of_heads = _sums(head_curves)
    windows = Windows(logs.count_updates(log))
    frames = []
    for estimator in logs.estimators(log):
        sums = [
            (row.sum(dtype=np.float64), sum_error(windows.mean(row), windows.last))
            for row in logs.block_rows(log, estimator, "sum")
        ]
        of_blocks = pd.DataFrame(sums, blocks.index, ["lca", "se"])
        frames.append(blocks.join(of_blocks).assign(estimator=estimator))
        frames.append(heads.assign(estimator=estimator).merge(of_heads))
    table = pd.concat(frames, ignore_index=True)[["estimator", *LABELS, "lca", "se"]]
    if "trapezoid" in logs.estimators(log):
        tokens, by_group = logs.group_tokens(log), (logs.block_groups(log), logs.head_groups(log))
        errors = [mean_error(each.sum(axis=0, dtype=float), tokens) for each in chain(*by_group)]
        table.loc[table["estimator"] == "trapezoid", "se"] = errors
    return table


def _sums(head_curves: pd.DataFrame) -> pd.DataFrame:
    """Return the sum of each curve, whose values are means over the windows' updates."""
    keys = ["estimator", *LABELS[:-1]]
    rows = []
    for labels, curve in head_curves.groupby(keys, sort=False):
        means, ends = curve["sum"].to_numpy(float), curve["update"].to_numpy()
        rows.append((*labels, means @ np.diff(ends, prepend=0), sum_error(means, ends)))
    return pd.DataFrame(rows, columns=[*keys, "lca", "se"]).astype(
        head_curves[keys].dtypes.to_dict() | {"lca": float, "se": float}
    )
