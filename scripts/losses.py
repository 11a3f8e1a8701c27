"""Draw the losses of all runs over the updates."""

from frames import read
from job import job
from lca.plotting.losses import draw
from lca.plotting.style import RUN, save

if __name__ == "__main__":
    with job(snakemake):
        given, params = snakemake.input, snakemake.params
        losses = read(given.losses, columns=[*RUN, "seed", "update", "loss"])
        probed = read(given.completeness, columns=[*RUN, "seed", "reference", "update", "loss"])
        save(draw(losses, probed, params.smoothing, params.scale), *snakemake.output)
