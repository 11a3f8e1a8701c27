"""Figure 1: LCA summed over training, per layer and component, for each objective."""

import pandas as pd
from matplotlib.figure import Figure

from closer_look.analysis.frames import read
from closer_look.drawing import bars
from closer_look.drawing.style import ESTIMATORS, objectives, save
from closer_look.jobs.job import job
from closer_look.vocabulary import OBJECTIVE_NAMES


def draw(totals: pd.DataFrame, estimator: str = "own_batch") -> Figure:
    """Draw the bars of one run, of one seed or several, for each objective; see `bars.grid`.

    `totals` as of `lca.analysis.totals`, of this estimator, with the columns `objective` and
    `seed`. An objective without data is left out.
    """
    rows = [
        (OBJECTIVE_NAMES[objective], objective, totals[totals["objective"] == objective])
        for objective in objectives(totals)
    ]
    title = f"LCA summed over training, {ESTIMATORS[estimator]} estimator"
    return bars.grid(rows, title, height=1.9)


if __name__ == "__main__":
    with job(snakemake):
        estimator = snakemake.params.estimator
        totals = read(snakemake.input.totals, estimator)
        save(draw(totals, estimator), *snakemake.output)
