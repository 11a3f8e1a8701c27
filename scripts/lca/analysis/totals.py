"""LCA summed over all updates, per block and per head (paper, figures 1 and 3)."""

from pathlib import Path

import pandas as pd

from . import logs


def totals(log: Path) -> pd.DataFrame:
    """Return the sum over all updates of every block and head, for every estimator recorded.

    Columns: estimator, stack, layer, component, head (0: the whole block), lca (nats per
    predicted token; negative where the loss was lowered).
    """
    blocks = logs.blocks(log).set_index("name")[["stack", "layer", "component"]]
    frames = []
    for estimator in logs.estimators(log):
        by_block = logs.series(log, estimator, "sum").sum().rename("lca").rename_axis("name")
        by_head = logs.head_series(log, estimator).sum().rename("lca")
        found = pd.concat([by_block.reset_index().assign(head=0), by_head.reset_index()])
        frames.append(found.assign(estimator=estimator))
    found = pd.concat(frames).join(blocks, on="name")
    columns = ["estimator", "stack", "layer", "component", "head", "lca"]
    return found[columns].reset_index(drop=True)
