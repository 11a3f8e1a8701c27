"""Figure 2: how the LCA of every layer went over the updates, for each objective."""

import pandas as pd
from matplotlib.figure import Figure

from . import trajectories
from .style import ESTIMATORS, UNIT


def draw(
    curves: pd.DataFrame,
    estimator: str = "own_batch",
    smoothing: int = 1000,
    scale: str = "linear",
) -> Figure:
    """Draw the contribution, -LCA, per update of each layer; see `trajectories.grid`.

    `curves` as of `lca.analysis.curves`, with the column `objective`.
    """
    curves = curves[curves["estimator"] == estimator]
    contributions = curves.assign(contribution=-curves["sum"])
    figure = trajectories.grid(contributions, "contribution", "sum", smoothing, scale)
    figure.suptitle(
        f"LCA over the updates, moving average over {smoothing:,} updates, "
        f"{ESTIMATORS[estimator]} estimator"
    )
    figure.supylabel(f"Contribution, −LCA per update ({UNIT})", fontsize=8)
    return figure
