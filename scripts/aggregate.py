"""Reduce the log of one run to small tidy tables."""

from pathlib import Path

import pandas as pd

from experiment import Run
from job import job
from lca.analysis.totals import totals


def with_run(frame: pd.DataFrame, run: Run) -> pd.DataFrame:
    """Return the frame with the facets of the run as its first columns."""
    for position, (facet, value) in enumerate(run._asdict().items()):
        frame.insert(position, facet, value)
    return frame


if __name__ == "__main__":
    with job(snakemake):
        run = Run(**dict(snakemake.wildcards.items()))
        frame = with_run(totals(Path(snakemake.input.log)), run)
        frame.to_parquet(snakemake.output.totals, index=False)
