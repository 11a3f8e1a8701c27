"""Figure 1: LCA summed over training, per layer and component, for each objective."""

import pandas as pd
from matplotlib.figure import Figure

from . import bars
from .style import ESTIMATORS, OBJECTIVES, objectives


def draw(totals: pd.DataFrame, estimator: str = "own_batch") -> Figure:
    """Draw the bars of one run, of one seed or several, for each objective; see `bars.grid`.

    `totals` as of `lca.analysis.totals`, with the columns `objective` and `seed`. An objective
    without data is left out.
    """
    totals = totals[totals["estimator"] == estimator]
    rows = [
        (OBJECTIVES[objective], objective, totals[totals["objective"] == objective])
        for objective in objectives(totals)
    ]
    title = f"LCA summed over training, {ESTIMATORS[estimator]} estimator"
    return bars.grid(rows, title, height=1.9)
