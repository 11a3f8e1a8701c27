"""What aggregating logs and drawing ten figures takes, as the number of runs grows.

The ten are Figures 1 to 6, `helping`, `completeness`, `held_out` and `similarity`. Not among them
are the tables, the claims, `verdicts` and `losses`, nor `shapes` and `agreement`, which ask for
variants and for runs that are probed at every update.

Makes synthetic logs of runs of the paper's size (12 layers, 8 heads, width 512) in a temporary
folder, about 7 kB for each update, and runs the scripts of the rules on them, each in a process of
its own and a few at a time, as Snakemake does. Runs of one objective are links to one log: what is
read is as much, but the disk holds no more than three. The times are by the clock and of all
processors together, the peak memory is that of the largest process. Prints a Markdown table. The
goal for the paper's seventeen runs of 125,000 updates is 2 minutes and 2 GB on 2 cores.
"""

import argparse
import json
import resource
import runpy
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

ROOT = Path(__file__).parents[1]

TABLES = ("totals", "curves", "head_curves", "milestones", "losses", "completeness", "probes")
TABLES += ("agreement",)
OF_MAIN_RUNS = {
    "figure1": ["totals"],
    "figure2": ["curves"],
    "figure3": ["totals"],
    "helping": ["curves"],
    "completeness": ["completeness", "curves"],
    "held_out": ["probes"],
}
OF_ALL_RUNS = {"figure5": ["totals"], "figure6": ["totals"], "similarity": ["totals"]}
WITHOUT_ESTIMATOR = ("completeness", "held_out")


def make_log(folder: Path, objective: str, updates: int) -> None:
    """Write a log of an objective."""
    from tests.support import synthetic

    log = folder / f"{objective}.parquet"
    synthetic.write_log(log, objective, updates, probe_every=max(1, updates // 125))


def make_run(folder: Path, number: int, updates: int) -> None:
    """Link the log of a run into its folder, and write its manifest."""
    from tests.support import synthetic

    run = folder / str(number)
    run.mkdir()
    (run / "log.parquet").hardlink_to(folder / f"{synthetic.facets(number)['objective']}.parquet")
    (run / "run.json").write_text(
        json.dumps({"settings": {"total_updates": updates}}), encoding="utf-8"
    )


def run_rule(rule: str, log: Path, **parts: dict) -> resource.struct_rusage:
    """Run the script of a rule, given its `input`, `output` and so on; return what it used."""
    from snakemake.iocontainers import Namedlist

    named = {name: Namedlist(fromdict=part) for name, part in parts.items()}
    snakemake = SimpleNamespace(rule=rule, log=[log], **named)
    (script,) = ROOT.glob(f"scripts/*/{rule}.py")
    runpy.run_path(str(script), {"snakemake": snakemake}, "__main__")
    return resource.getrusage(resource.RUSAGE_SELF)


def aggregations(folder: Path, runs: int) -> Iterable[Callable]:
    """Yield a call of rule `aggregate` for each run."""
    from tests.support import synthetic

    for number in range(runs):
        run = folder / str(number)
        yield partial(
            *(run_rule, "aggregate", run / "aggregate.log"),
            input={"log": run / "log.parquet", "manifest": run / "run.json"},
            params={"windows": 1000},
            output={table: run / f"{table}.parquet" for table in TABLES}
            | {"summary": run / "summary.csv"},
            wildcards={name: str(value) for name, value in synthetic.facets(number).items()},
        )


def drawings(folder: Path, runs: int) -> Iterable[Callable]:
    """Yield a call of the rule of each of the ten figures, by two estimators where it has one."""
    from tests.support import synthetic

    objectives = [synthetic.facets(number)["objective"] for number in range(runs)]
    main = [objectives.index(objective) for objective in dict.fromkeys(objectives)]
    tasks = [(rule, tables, main) for rule, tables in OF_MAIN_RUNS.items()]
    tasks += [(rule, tables, range(runs)) for rule, tables in OF_ALL_RUNS.items()]
    tasks.append(("figure4", ["curves"], [0]))  # the first is a masked language model
    for rule, tables, numbers in tasks:
        for estimator in ("own_batch", "next_batch")[: 1 if rule in WITHOUT_ESTIMATOR else 2]:
            figure = folder / f"{rule}.{estimator}"
            params = {"estimator": estimator, "smoothing": 1000, "scale": "linear", "dashed": []}
            yield partial(
                *(run_rule, rule, figure.with_suffix(".log")),
                input={
                    table: [folder / str(number) / f"{table}.parquet" for number in numbers]
                    for table in tables
                },
                output={kind: f"{figure}.{kind}" for kind in ("pdf", "png")},
                params=params,
            )


def run_all(calls: Iterable[Callable], cores: int) -> list:
    """Make the calls, each in a fresh process; return what they return."""
    with ProcessPoolExecutor(cores, get_context("spawn"), max_tasks_per_child=1) as pool:
        return [future.result() for future in [pool.submit(call) for call in calls]]


def measure(calls: Iterable[Callable], cores: int) -> tuple[float, float, float]:
    """Return the seconds by the clock and of the processors, and the peak in MB, of the calls."""
    start = time.perf_counter()
    used = run_all(calls, cores)
    wall = time.perf_counter() - start
    processor = sum(usage.ru_utime + usage.ru_stime for usage in used)
    return wall, processor, max(usage.ru_maxrss for usage in used) * 1024 / 1e6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 4, 17], help="numbers of runs")
    parser.add_argument("--updates", type=int, default=125_000, help="updates of a run")
    parser.add_argument("--cores", type=int, default=2, help="processes at a time")
    arguments = parser.parse_args()
    print(f"{arguments.updates:,} updates a run, {arguments.cores} processes at a time\n")
    print("| runs | aggregation, s | of CPU | peak, MB | ten figures, s | of CPU | peak, MB |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        objectives = ("mt", "mlm", "clm")  # the largest first
        run_all(
            [partial(make_log, folder, name, arguments.updates) for name in objectives],
            arguments.cores,
        )
        for number in range(max(arguments.runs)):
            make_run(folder, number, arguments.updates)
        for runs in arguments.runs:
            aggregated = measure(aggregations(folder, runs), arguments.cores)
            drawn = measure(drawings(folder, runs), arguments.cores)
            cells = [f"{value:.0f}" for value in (*aggregated, *drawn)]
            print(f"| {runs} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
