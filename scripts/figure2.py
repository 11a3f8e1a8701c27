"""Draw Figure 2 from the curves of the main runs, all seeds."""

from frames import read
from job import job
from lca.plotting.figure2 import draw
from lca.plotting.style import save

COLUMNS = ["objective", "seed", "estimator", "stack", "layer", "component", "update", "sum"]

if __name__ == "__main__":
    with job(snakemake):
        estimator = snakemake.params.estimator
        curves = read(snakemake.input.curves, estimator, COLUMNS)
        save(
            draw(curves, estimator, snakemake.params.smoothing, snakemake.params.scale),
            *snakemake.output,
        )
