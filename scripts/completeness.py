"""Draw whether the contributions add up, in the main runs, all seeds."""

from frames import read
from job import job
from lca.plotting.completeness import draw
from lca.plotting.style import save

COLUMNS = ["objective", "seed", "estimator", "update", "sum"]

if __name__ == "__main__":
    with job(snakemake):
        curves = read(snakemake.input.curves, columns=COLUMNS)
        save(draw(read(snakemake.input.completeness), curves), *snakemake.output)
