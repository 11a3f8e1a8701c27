"""Reduce the log of one run to small tidy tables."""

from pathlib import Path

from closer_look.analysis.agreement import agreement
from closer_look.analysis.frames import with_run, write
from closer_look.analysis.losses import losses
from closer_look.analysis.milestones import milestones
from closer_look.config import Run
from closer_look.jobs.job import InputError, job
from closer_look.jobs.manifest import check_files, read_manifest
from lca.analysis import logs
from lca.analysis.completeness import completeness, probes, summary
from lca.analysis.curves import curves, head_curves
from lca.analysis.totals import totals
from lca.files import LogError

TABLES = (head_curves, milestones, losses, completeness, probes, agreement)


def check(log: Path, manifest: Path) -> None:
    """Raise `InputError` unless the log has each of the run's updates and is what was written."""
    remake = f"`snakemake --forcerun train -- {log}` makes it again, from the last checkpoint"
    updates = read_manifest(manifest)["settings"]["total_updates"]
    check_files(manifest, {"log": log}, remake)
    try:
        last = logs.count_updates(log)
    except LogError as error:
        raise InputError(f"{error}; {remake}") from None
    if last != updates:
        raise InputError(f"{log}: ends at update {last} of {updates}; {remake}")


def main(log: Path, manifest: Path, run: Run, windows: int, outputs: dict[str, Path]) -> None:
    """Write each table of the run to the file that `outputs` has under its name, and a summary.

    The curves have a value for each of so many `windows` of the training at most.
    """
    check(log, manifest)
    tables = {table.__name__: table(log) for table in TABLES} | {"curves": curves(log, windows)}
    tables["totals"] = totals(log, tables["head_curves"])
    at_the_end = summary(tables["completeness"])
    for name, table in tables.items():
        write(with_run(table, run), outputs[name])
    at_the_end.to_csv(outputs["summary"], index=False, float_format="%.4g")


if __name__ == "__main__":
    with job(snakemake):
        facets = dict(snakemake.wildcards.items())
        main(
            log=Path(snakemake.input.log),
            manifest=Path(snakemake.input.manifest),
            run=Run(**facets | {"seed": int(facets["seed"])}),
            windows=snakemake.params.windows,
            outputs=dict(snakemake.output.items()),
        )
