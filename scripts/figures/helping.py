"""The share of the parameters that help at each update (Lan et al. 2019, section 4.1)."""

import pandas as pd
from matplotlib.figure import Figure

from closer_look.analysis.frames import read
from closer_look.drawing import trajectories
from closer_look.drawing.style import ESTIMATORS, save
from closer_look.jobs.job import job

COLUMNS = ["objective", "seed", "stack", "layer", "component", "update", "helping"]


def draw(
    curves: pd.DataFrame,
    estimator: str = "own_batch",
    smoothing: int = 1000,
    scale: str = "linear",
) -> Figure:
    """Draw the share of each layer's parameters with negative LCA; see `trajectories.grid`.

    `curves` as of `lca.analysis.curves`, of this estimator, with the column `objective`. A layer's
    share is the mean of its matrices', which are of one size.
    """
    shares = curves.assign(percent=100 * curves["helping"])
    figure = trajectories.grid(shares, "percent", "mean", smoothing, scale, sharey="row")
    for panel in figure.axes:
        if panel.lines:
            panel.axhline(50, color="black", linewidth=0.6, linestyle=(0, (4, 3)))
    figure.suptitle(
        f"Parameters that lowered the loss, moving average over {smoothing:,} updates, "
        f"{ESTIMATORS[estimator]} estimator"
    )
    figure.supylabel("Parameters with negative LCA (%)", fontsize=8)
    return figure


if __name__ == "__main__":
    with job(snakemake):
        estimator = snakemake.params.estimator
        curves = read(snakemake.input.curves, estimator, COLUMNS)
        save(
            draw(curves, estimator, snakemake.params.smoothing, snakemake.params.scale),
            *snakemake.output,
        )
