"""Write the page that shows everything: verdicts, figures, tables, runs, and an explorer."""

from pathlib import Path

import pandas as pd

from closer_look.jobs.job import job
from closer_look.page.exhibits import Captions, read_figure, read_table
from closer_look.page.page import TABLES, RunFiles, page

if __name__ == "__main__":
    with job(snakemake):
        given = snakemake.input
        captions = Captions(given.captions, snakemake.params.figures)
        tables = zip(*(given[name] for name in TABLES), strict=True)
        html = page(
            runs=[
                RunFiles(manifest, dict(zip(TABLES, paths, strict=True)))
                for manifest, paths in zip(given.manifests, tables, strict=True)
            ],
            main_runs=snakemake.params.main_runs,
            claims=pd.read_csv(given.claims, dtype={"claim": str}),
            figures=[read_figure(path, captions) for path in given.figures],
            tables=[read_table(path, captions) for path in given.tables],
        )
        Path(snakemake.output.page).write_text(html, encoding="utf-8")
