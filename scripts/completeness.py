"""Draw whether the contributions add up, in the main runs."""

from frames import read
from job import job
from lca.plotting.completeness import draw
from lca.plotting.style import save

if __name__ == "__main__":
    with job(snakemake):
        save(draw(read(snakemake.input.completeness)), *snakemake.output)
