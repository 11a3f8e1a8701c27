"""Count the updates that raised the loss in the main runs, beside the paper's Table 1."""

import pandas as pd

from closer_look.analysis.frames import read
from closer_look.analysis.table1 import table1
from closer_look.analysis.tables import write
from closer_look.jobs.job import job

if __name__ == "__main__":
    with job(snakemake):
        estimator = snakemake.params.estimator
        milestones = read(snakemake.input.milestones, estimator)
        paper = pd.read_csv(snakemake.input.paper, index_col="objective")
        caption = (
            "Table 1. Pairs of layer and update at which a component raised the loss "
            f"({estimator.replace('_', '-')} estimator), the last such update, and the largest "
            "value (nats per predicted token; the paper's unit is another)."
        )
        write(table1(milestones, paper), caption, **dict(snakemake.output.items()))
