"""Draw Figure 3 from the totals of the main runs."""

from frames import read
from job import job
from lca.plotting.figure3 import draw
from lca.plotting.style import save

if __name__ == "__main__":
    with job(snakemake):
        estimator = snakemake.params.estimator
        totals = read(snakemake.input.totals, estimator)
        save(draw(totals, estimator), *snakemake.output)
