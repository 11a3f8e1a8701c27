"""Count the updates that raised the loss in the main runs, beside the paper's Table 1."""

import pandas as pd

from closer_look.analysis.frames import read
from closer_look.analysis.hurting import SINGLE_UPDATES, milestones
from closer_look.analysis.table1 import table1
from closer_look.analysis.tables import write
from closer_look.jobs.job import job
from closer_look.vocabulary import FACETS

if __name__ == "__main__":
    with job(snakemake):
        estimator = snakemake.params.estimator
        single = estimator in SINGLE_UPDATES
        if single:
            ours = read(snakemake.input.milestones, estimator)
        else:
            curves = read(snakemake.input.curves, estimator)
            ours = pd.concat([milestones(run) for _, run in curves.groupby(FACETS)])
        paper = pd.read_csv(snakemake.input.paper, index_col="objective")
        caption = (
            f"Table 1. Pairs of layer and {'update' if single else 'window of updates'} at which a "
            f"component raised the loss {'' if single else 'significantly '}"
            f"({estimator} estimator), the last such update, and the largest "
            "value (nats per predicted token; the paper's unit is another, and it counts updates)."
        )
        write(table1(ours, paper), caption, **dict(snakemake.output.items()))
