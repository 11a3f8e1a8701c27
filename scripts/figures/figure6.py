"""Figure 6: figure 1 for every run."""

import pandas as pd
from matplotlib.figure import Figure

from closer_look.analysis.frames import read
from closer_look.drawing import bars
from closer_look.drawing.style import ESTIMATORS, names, objectives, save
from closer_look.jobs.job import job
from closer_look.vocabulary import MODEL, OBJECTIVE_NAMES


def draw(totals: pd.DataFrame, estimator: str = "own_batch") -> Figure:
    """Draw the bars of every run, whatever its seed, in a row of its own; see `bars.grid`.

    `totals` as of `lca.analysis.totals`, of this estimator, with the columns of
    `vocabulary.FACETS`. Rows go by objective, then in the order of `totals`.
    """
    rows = []
    for objective in objectives(totals):
        of_objective = totals[totals["objective"] == objective]
        runs = of_objective[MODEL].drop_duplicates()
        for name, (_, run) in zip(names(runs), runs.iterrows(), strict=True):
            of_run = of_objective[(of_objective[MODEL] == run).all(axis=1)]
            rows.append((f"{OBJECTIVE_NAMES[objective]}\n{name}", objective, of_run))
    title = f"LCA summed over training, every run, {ESTIMATORS[estimator]} estimator"
    return bars.grid(rows, title, height=1.25)


if __name__ == "__main__":
    with job(snakemake):
        estimator = snakemake.params.estimator
        totals = read(snakemake.input.totals, estimator)
        save(draw(totals, estimator), *snakemake.output)
