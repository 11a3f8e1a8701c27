"""Print what the runs that are not done take: `python -m closer_look.plan [CONFIGFILE ...]`."""

import json
import math
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median

import pandas as pd
import yaml

from lca.analysis.logs import facts
from lca.files import whole

from . import config as configuration
from . import config_file
from .jobs.manifest import read_manifest
from .training import calibration
from .training.progress import markdown, progress
from .trees import Tree

RESULTS = Path("results")
SPEEDS = Path("resources/speeds.yaml")
CALIBRATION = "calibration.json"
NOTE = f"""
Hours (h) on one card: of the paper's model at the speeds in {SPEEDS}; here: at the speed at which
the run itself was going, or one of its objective and size that is done, or else a few updates of
random text that were timed here (kept in {RESULTS / CALIBRATION}). GB: checkpoints and logs at
their largest, without the data."""

SIZE = ("layers", "heads", "embed_dim", "ffn_dim", "tokens_per_update", "precision")
"""The settings that decide, with the objective, how fast a training is."""
Kind = tuple[object, ...]
"""The objective and these settings of a training."""

KEPT = 3  # checkpoints: the last, and fairseq's --keep-interval-updates
BYTES = 20  # of a checkpoint per parameter: value, Adam's two moments, the last displacement, fp16
LOG = 8e3  # bytes of the log per update, of twelve layers; 1 GB for 125,000


def parameters(settings: Tree, objective: str, vocabulary: int) -> int:
    """Return about how many parameters a model has: those of its matrices."""
    width: int = settings["embed_dim"]
    layers: int = settings["layers"]
    is_tied: bool = settings.get("tie_output", configuration.AS_IN_FAIRSEQ["tie_output"][objective])
    tables = (3 if objective == "mt" else 2) - is_tied
    attentions = layers + (layers // 2 if objective == "mt" else 0)
    matrices: int = 4 * width**2 * attentions + 2 * width * settings["ffn_dim"] * layers
    return matrices + tables * vocabulary * width


def gigabytes(settings: Tree, objective: str, vocabulary: int) -> float:
    """Return about how much disk a training takes, checkpoints and log."""
    checkpoints = KEPT * BYTES * parameters(settings, objective, vocabulary)
    # the log twice: in its parts and consolidated
    log: float = 2 * LOG * settings["total_updates"] * settings["layers"] / 12
    return (checkpoints + log) / 1e9


def seconds_of_done(results: Path) -> dict[Kind, float]:
    """Return the median seconds of an update by objective and `SIZE`, of the runs that are done."""
    by_kind: dict[Kind, list[float]] = {}
    for manifest in (results / "runs").rglob("run.json"):
        done = read_manifest(manifest)
        kind = _kind(done["settings"], done["run"].split("/")[1])
        seconds = facts(manifest.with_name("log.parquet"))["seconds"]
        by_kind.setdefault(kind, []).append(seconds.diff().median())
    return {kind: median(seconds) for kind, seconds in by_kind.items()}


def _kind(settings: Tree, objective: str) -> Kind:
    return objective, *(settings.get(name) for name in SIZE)


def seconds_here(
    wanted: dict[str, Tree],
    vocabulary: int,
    results: Path = RESULTS,
    measure: Callable[[str, Tree, int], float] = calibration.seconds_per_update,
) -> dict[Kind, float]:
    """Return the seconds of an update on this machine, by objective and `SIZE`.

    They are those of the runs that are done, and for others of the runs that are `wanted` those of
    a few updates, which are timed once and kept in a file; what cannot be trained here is left out.
    """
    known, file = seconds_of_done(results), results / CALIBRATION
    kept: Tree = read_manifest(file) if file.exists() else {}
    for run, settings in wanted.items():
        kind = _kind(settings, objective := run.split("/")[1])
        if kind in known or (results / "runs" / run / "log.parquet").exists():
            continue
        key = json.dumps([platform.node(), *kind])
        if key not in kept and calibration.can_train(settings):
            print(f"measuring how fast {run} would train here ...", file=sys.stderr, flush=True)
            kept[key] = measure(objective, settings, vocabulary)
            with whole(file) as new:
                new.write(json.dumps(kept, indent=1).encode())
        if key in kept:
            known[kind] = kept[key]
    return known


def plan(
    wanted: dict[str, Tree],
    speeds: Tree,
    vocabulary: int,
    results: Path = RESULTS,
    here: dict[Kind, float] | None = None,
) -> pd.DataFrame:
    """Return a row for each of the runs that are `wanted` and not done, in their order.

    They are given with their settings; `speeds` are tokens per second by card and objective, `here`
    the seconds of an update on this machine, by default those of the runs that are done.
    """
    rows, known = [], seconds_of_done(results) if here is None else here
    for run, settings in wanted.items():
        if (results / "runs" / run / "log.parquet").exists():
            continue
        objective = run.split("/")[1]
        so_far = progress(results / "state", run, results / "logs/train" / f"{run}.log")
        left = max(settings["total_updates"] - so_far.update, 0)
        rest = settings | {"total_updates": left}
        hours = {f"h {card}": configuration.hours(rest, speeds[card][objective]) for card in speeds}
        size = gigabytes(settings, objective, vocabulary)
        of_others = known.get(_kind(settings, objective), math.nan)
        here = left * (of_others if math.isnan(so_far.seconds) else so_far.seconds) / 3600
        rows.append({"run": run, "updates": left, "GB": size, **hours, "h here": here})
    return pd.DataFrame(rows)


def with_sums(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with a last row of its sums."""
    sums = table.drop(columns="run").sum(min_count=1)
    return pd.concat([table, pd.DataFrame([{"run": "sum", **sums}])])


if __name__ == "__main__":
    config = config_file.of_command_line(__doc__)
    speeds = yaml.safe_load(SPEEDS.read_text(encoding="utf-8"))
    wanted, vocabulary = configuration.settings_by_run(config), config["bpe"]["vocab_size"]
    table = plan(wanted, speeds, vocabulary, here=seconds_here(wanted, vocabulary))
    if table.empty:
        print("All runs are done.")
    else:
        print(markdown(with_sums(table).astype({"updates": int}), ".1f"), NOTE, sep="\n")
