"""Figure 2: how the LCA of every layer went over the updates, for each objective."""

import pandas as pd
from matplotlib.figure import Figure

from closer_look.analysis.frames import read
from closer_look.drawing import trajectories
from closer_look.drawing.style import ESTIMATORS, save
from closer_look.jobs.job import job
from closer_look.vocabulary import UNIT

COLUMNS = ["objective", "seed", "stack", "layer", "component", "update", "sum"]


def draw(
    curves: pd.DataFrame,
    estimator: str = "own_batch",
    smoothing: int = 1000,
    scale: str = "linear",
) -> Figure:
    """Draw the contribution, -LCA, per update of each layer; see `trajectories.grid`.

    `curves` as of `lca.analysis.curves`, of this estimator, with the column `objective`.
    """
    contributions = curves.assign(contribution=-curves["sum"])
    figure = trajectories.grid(contributions, "contribution", "sum", smoothing, scale)
    figure.suptitle(
        f"LCA over the updates, moving average over {smoothing:,} updates, "
        f"{ESTIMATORS[estimator]} estimator"
    )
    figure.supylabel(f"Contribution, −LCA per update ({UNIT})", fontsize=8)
    return figure


if __name__ == "__main__":
    with job(snakemake):
        estimator = snakemake.params.estimator
        curves = read(snakemake.input.curves, estimator, COLUMNS)
        save(
            draw(curves, estimator, snakemake.params.smoothing, snakemake.params.scale),
            *snakemake.output,
        )
