"""Test the paper's claims on the tables of the runs."""

from pathlib import Path

from closer_look.analysis import claims
from closer_look.analysis.claims import markdown
from closer_look.analysis.frames import read
from closer_look.jobs.job import job

TABLES = ("totals", "curves", "head_curves", "scores")

if __name__ == "__main__":
    with job(snakemake):
        tables = {name: read(snakemake.input[name]) for name in TABLES}
        main = [tuple(name.split("/")) for name in snakemake.params.main]
        verdicts = claims.evaluate(**tables, main=main)
        verdicts.to_csv(snakemake.output.csv, index=False)
        Path(snakemake.output.md).write_text(markdown.write(verdicts), encoding="utf-8")
