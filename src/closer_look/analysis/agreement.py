"""Whether the estimators find what the probe finds, block by block and head by head.

The probe integrates an update's gradient along its step on fixed batches of training text: the
truth, up to the choice of these batches (Lan et al. 2019, section 2; see `lca.integral`). What that
choice does is shown by the second probe, on held-out text, which is compared as if it were an
estimator.

Only of runs in which (nearly) every update was probed: the claim is about sums over a training.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import rankdata

from lca import PROBES
from lca.analysis import logs
from lca.analysis.windows import Windows

from ..vocabulary import CELL, FACETS
from .arrays import Floats, Integers

TRUTH, *OTHERS = PROBES
"""The set whose probe is the truth, and those that are compared with it."""

NEARLY = 0.9
"""The least share of the updates that have to be probed."""

WINDOWS = 40
"""Of a run in the table, at most: the blocks of updates that the bootstrap draws."""

STRATUM = 4
"""Consecutive windows, at least, among which it draws: what changes more slowly is no noise."""

LEVELS = ("block", "head")

REPLICATES = 2000
CONFIDENCE = 0.95


def agreement(log: Path) -> pd.DataFrame:
    """Return what every estimator and the probe allocate to blocks and heads over the updates.

    Columns: estimator (of `logs.estimators`, or the set of a further probe), stack, layer,
    component, head (0: the whole block), update (the last of a window), lca, truth (sums over the
    probed updates of the window, nats per predicted token). Empty unless `NEARLY` all updates were
    probed.
    """
    cells = pd.concat([logs.blocks(log).assign(head=0), logs.heads(log)], ignore_index=True)[CELL]
    columns = ["estimator", *CELL, "update", "lca", "truth"]
    probed = _probed(log)
    if len(probed) < NEARLY * logs.count_updates(log):
        return pd.DataFrame(columns=columns)
    windows = Windows(len(probed), WINDOWS)
    updates = probed[windows.last - 1]
    truth = _sums(log, f"probe_{TRUTH}", probed, windows)
    others = [name for name in OTHERS if name in logs.probes(log)]
    groups = {name: name for name in logs.estimators(log)}
    groups |= {name: f"probe_{name}" for name in others}
    frames = []
    for name, group in groups.items():
        frame = cells.loc[cells.index.repeat(len(updates))].assign(estimator=name)
        frame["update"] = np.tile(updates, len(cells))
        frame["lca"] = _sums(log, group, probed, windows).ravel()
        frames.append(frame.assign(truth=truth.ravel()))
    return pd.concat(frames, ignore_index=True)[columns]


def _probed(log: Path) -> Integers:
    """Return the updates that were probed."""
    if TRUTH not in logs.probes(log):
        return np.array([], int)
    return logs.facts(log)[f"probe_{TRUTH}/after"].dropna().index.to_numpy()


def _sums(log: Path, group: str, updates: Integers, windows: Windows) -> Floats:
    """Return sums of a group's values over windows of `updates`: (blocks and heads, windows)."""

    def rows() -> Iterator[NDArray[np.floating]]:
        yield from logs.block_rows(log, group, "sum")
        yield from logs.head_rows(log, group)

    return np.array([windows.sum(row[updates - 1]) for row in rows()])


def of_cells(agreement: pd.DataFrame) -> pd.DataFrame:
    """Return the sums over all updates of one run, by level, estimator and cell.

    Columns: level, estimator, stack, layer, component, head, lca, truth, error (standard error of
    lca - truth, from the scatter of neighbouring windows).
    """
    columns = ["level", "estimator", *CELL, "lca", "truth", "error"]
    frames = []
    for (level, estimator), (cells, lca, truth) in _by_level(agreement):
        strata = np.array_split(lca - truth, _strata(lca.shape[1]), axis=1)
        variance = sum(part.shape[1] * part.var(axis=1, ddof=1) for part in strata)
        sums = {"lca": lca.sum(axis=1), "truth": truth.sum(axis=1), "error": np.sqrt(variance)}
        frames.append(cells.assign(**sums, level=level, estimator=estimator))
    if not frames:
        return pd.DataFrame(columns=columns)
    return pd.concat(frames, ignore_index=True)[columns]


def summary(agreement: pd.DataFrame) -> pd.DataFrame:
    """Return how well each estimator of one run agrees with the truth.

    A row for each level (`LEVELS`) and estimator: cells (their number), lca and truth (their sums)
    and, each with the ends of a 95 % interval as NAME_low and NAME_high,

    - ratio: lca / truth, of the sums over all cells;
    - distance: half the summed absolute differences of the cells' shares in their sum, the share of
      the whole that is allocated to the wrong cells;
    - slope: of the line through the origin, lca on truth;
    - rank: Spearman's correlation of the cells.

    The intervals are a block bootstrap's, which draws windows of consecutive updates, stratified by
    time (Rao and Wu 1988): they tell how much is chance of the training batches, but not what
    another text of the probe would give.
    Those of ratio, slope and rank are basic ("reverse percentile") intervals. Noise only ever adds
    to a distance: `chance` is how much of it, on average, would be found between shares that do not
    differ but by noise. Its interval holds all distances no further from the one found than 95 % of
    the replicates' shares are from the shares found. All of them are too narrow for noise that
    windows share, as the trapezoid's, where a stride is longer than a window.
    """
    rng = np.random.default_rng(1)
    rows = []
    for (level, estimator), (_, lca, truth) in _by_level(agreement):
        row = {"level": level, "estimator": estimator, "cells": len(lca)}
        row |= {"lca": lca.sum(), "truth": truth.sum()}
        drawn = _draw(lca.shape[1], rng)
        measured, replicates = (
            (lca.sum(axis=1), truth.sum(axis=1)),
            (drawn @ lca.T, drawn @ truth.T),
        )
        for name, statistic in STATISTICS.items():
            value = statistic(*measured)
            low, high = 2 * value - np.quantile(statistic(*replicates), TAILS[::-1])
            row |= {name: value, f"{name}_low": low, f"{name}_high": min(high, MOST[name])}
        apart = _misplaced(*measured)
        noise = _norm(_misplaced(*replicates) - apart)
        value, radius = _norm(apart), np.quantile(noise, CONFIDENCE)
        row |= {"distance": value, "chance": noise.mean()}
        row |= {"distance_low": max(0, value - radius), "distance_high": value + radius}
        rows.append(row)
    return pd.DataFrame(rows, columns=COLUMNS)


def table(agreement: pd.DataFrame) -> pd.DataFrame:
    """Return the `summary` of every run, with the runs' facets."""
    runs = agreement.groupby(FACETS, sort=False)
    rows = [
        dict(zip(FACETS, run, strict=True)) | row
        for run, of_run in runs
        for row in summary(of_run).to_dict("records")
    ]
    return pd.DataFrame(rows, columns=[*FACETS, *COLUMNS])


def _by_level(
    agreement: pd.DataFrame,
) -> Iterator[tuple[tuple[str, str], tuple[pd.DataFrame, Floats, Floats]]]:
    """Yield level and estimator, and their cells with lca and truth as (cells, windows)."""
    for is_head, level in enumerate(LEVELS):
        rows = agreement[(agreement["head"] > 0) == is_head]
        for estimator, group in rows.groupby("estimator", sort=False):
            wide = group.pivot(index=CELL, columns="update", values=["lca", "truth"])
            cells = wide.index.to_frame(index=False)
            yield (level, str(estimator)), (cells, wide["lca"].to_numpy(), wide["truth"].to_numpy())


def _strata(windows: int) -> int:
    """Return into how many strata a number of windows is divided."""
    return max(1, windows // STRATUM)


def _draw(windows: int, rng: np.random.Generator) -> Floats:
    """Return weights of the windows, a row for each replicate.

    Of each stratum of n windows n - 1 are drawn with replacement, each to count n / (n - 1) times:
    then the replicates of a sum vary as much as the sum does.
    """
    sizes = [len(part) for part in np.array_split(np.arange(windows), _strata(windows))]
    drawn = [rng.multinomial(n - 1, np.full(n, 1 / n), REPLICATES) * n / (n - 1) for n in sizes]
    return np.concatenate(drawn, axis=1)


def _ratio(lca: Floats, truth: Floats) -> Floats:
    ratio: Floats = lca.sum(axis=-1) / truth.sum(axis=-1)
    return ratio


def _slope(lca: Floats, truth: Floats) -> Floats:
    slope: Floats = (lca * truth).sum(axis=-1) / (truth**2).sum(axis=-1)
    return slope


def _rank(lca: Floats, truth: Floats) -> Floats:
    """Return Spearman's correlation along the last axis, which `spearmanr` has for columns only.

    NaN where all are the same.
    """
    x, y = (rankdata(values, axis=-1) for values in (lca, truth))
    x, y = (ranks - ranks.mean(axis=-1, keepdims=True) for ranks in (x, y))
    with np.errstate(invalid="ignore"):
        rank: Floats = (x * y).sum(axis=-1) / np.sqrt((x**2).sum(axis=-1) * (y**2).sum(axis=-1))
    return rank


def _misplaced(lca: Floats, truth: Floats) -> Floats:
    """Return by how much each cell's share in the sum differs from the true one."""
    ours, true = (values / values.sum(axis=-1, keepdims=True) for values in (lca, truth))
    difference: Floats = ours - true
    return difference


def _norm(misplaced: Floats) -> Floats:
    distance: Floats = np.abs(misplaced).sum(axis=-1) / 2
    return distance


TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
Statistic = Callable[[Floats, Floats], Floats]
STATISTICS: dict[str, Statistic] = {"ratio": _ratio, "slope": _slope, "rank": _rank}
MOST = {"ratio": np.inf, "slope": np.inf, "rank": 1}
"""What a statistic can be at most."""

COLUMNS = ["level", "estimator", "cells", "lca", "truth"]
COLUMNS += [f"{name}{end}" for name in (*STATISTICS, "distance") for end in ("", "_low", "_high")]
COLUMNS.append("chance")
