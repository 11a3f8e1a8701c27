"""Draw Figure 4 from the curves of the main masked language model."""

from frames import read
from job import job
from lca.plotting.figure4 import draw
from lca.plotting.style import save

COLUMNS = ["objective", "estimator", "stack", "layer", "component", "update", "high"]

if __name__ == "__main__":
    with job(snakemake):
        estimator = snakemake.params.estimator
        curves = read(snakemake.input.curves, estimator, COLUMNS)
        save(draw(curves, estimator), *snakemake.output)
