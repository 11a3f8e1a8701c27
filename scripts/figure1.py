"""Draw Figure 1 from the totals of the main runs."""

import pandas as pd

from job import job
from lca.plotting.figure1 import draw
from lca.plotting.style import save

if __name__ == "__main__":
    with job(snakemake):
        totals = pd.concat(map(pd.read_parquet, snakemake.input.totals))
        save(draw(totals), *snakemake.output)
