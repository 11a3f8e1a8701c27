"""Test the paper's claims on the tables of the runs."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from closer_look.analysis import claims
from closer_look.analysis.claims import markdown
from closer_look.jobs.job import job


def read(tables: Iterable[str]) -> pd.DataFrame:
    """Return the tables of several runs as one."""
    return pd.concat(map(pd.read_parquet, tables), ignore_index=True)


if __name__ == "__main__":
    with job(snakemake):
        tables = {name: read(snakemake.input[name]) for name in ("totals", "milestones", "curves")}
        main = [tuple(name.split("/")) for name in snakemake.params.main]
        verdicts = claims.evaluate(**tables, main=main)
        verdicts.to_csv(snakemake.output.csv, index=False)
        Path(snakemake.output.md).write_text(markdown.write(verdicts), encoding="utf-8")
