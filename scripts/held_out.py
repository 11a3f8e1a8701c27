"""Draw the probe's LCA on training text and on held-out text, in the main runs."""

from frames import read
from job import job
from lca.plotting.held_out import draw
from lca.plotting.style import save

if __name__ == "__main__":
    with job(snakemake):
        save(draw(read(snakemake.input.probes)), *snakemake.output)
