"""LCA over the updates, in windows: per block and per head (paper, figures 2 and 4)."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from . import logs
from .uncertainty import apart
from .windows import MOST, Windows

MOST_OF_HEADS = 50
"""Windows of a run in the table of the heads."""


def curves(log: Path, most: int = MOST) -> pd.DataFrame:
    """Return how the LCA of every block went, for every estimator recorded, in `most` windows.

    Columns: estimator, stack, layer, component, update (the last of a window); sum, low, high
    (mean, smallest and largest LCA of an update in the window, nats per predicted token), positive
    (mean of the sum of the positive terms), helping and hurting (mean shares of the block's
    elements whose term is negative, positive). These three are missing where the estimator has no
    such statistic. Of the trapezoid, apart_1, apart_2, ...: by how much each group of its text
    moves `sum`. Sum any of them up as `sum` is: the root of their squares' sum is the standard
    error of what comes out.
    """
    blocks = logs.blocks(log)
    windows = Windows(logs.count_updates(log), most)
    frames = []
    for estimator in logs.estimators(log):
        sums = [
            (windows.mean(row), windows.low(row), windows.high(row))
            for row in logs.block_rows(log, estimator, "sum")
        ]
        values: dict[str, Sequence[NDArray[np.floating]]] = dict(
            zip(("sum", "low", "high"), zip(*sums, strict=True), strict=True)
        )
        for statistic in ("positive", "helping", "hurting"):
            values[statistic] = _means(log, estimator, statistic, windows)
        for statistic in ("helping", "hurting"):
            values[statistic] = [
                counts / np.float32(elements)
                for counts, elements in zip(values[statistic], blocks["elements"], strict=True)
            ]
        if estimator == "trapezoid":
            values |= _apart(log, logs.block_groups(log), windows)
        frames.append(_long(blocks[["stack", "layer", "component"]], windows, values))
        frames[-1].insert(0, "estimator", estimator)
    return pd.concat(frames, ignore_index=True)


def head_curves(log: Path) -> pd.DataFrame:
    """Return how the LCA of every head went, for every estimator recorded.

    Columns: estimator, stack, layer, component, head, update (the last of at most `MOST_OF_HEADS`
    windows), sum (mean LCA of an update in the window), and apart_1, ... as of `curves`.
    """
    heads = logs.heads(log)[["stack", "layer", "component", "head"]]
    windows = Windows(logs.count_updates(log), MOST_OF_HEADS)
    frames = []
    for estimator in logs.estimators(log):
        sums = [windows.mean(row) for row in logs.head_rows(log, estimator)]
        values: dict[str, Sequence[NDArray[np.floating]]] = {"sum": sums}
        if estimator == "trapezoid":
            values |= _apart(log, logs.head_groups(log), windows)
        frames.append(_long(heads, windows, values))
        frames[-1].insert(0, "estimator", estimator)
    return pd.concat(frames, ignore_index=True)


def _apart(
    log: Path, rows: Iterator[NDArray[np.floating]], windows: Windows
) -> dict[str, list[NDArray[np.floating]]]:
    """Return by how much each group of text moves the mean of each window, for each label."""
    tokens = logs.group_tokens(log)
    ends, edges = [0, *logs.stride_lengths(log).index], [0, *windows.last]
    columns: dict[str, list[NDArray[np.floating]]] = {
        f"apart_{number + 1}": [] for number in range(len(tokens))
    }
    for by_group in rows:
        for column, moved in zip(columns.values(), apart(by_group, tokens).T, strict=True):
            so_far = np.interp(edges, ends, np.append(0, np.cumsum(moved)))
            column.append(_short(np.diff(so_far) / np.diff(edges)))
    return columns


def _short(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return float32 with 8 significant bits: enough for errors, and half as much on disk."""
    bits = values.astype(np.float32).view(np.uint32)
    return ((bits + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32)


def _means(
    log: Path, estimator: str, statistic: str, windows: Windows
) -> list[NDArray[np.float32]]:
    """Return a statistic's mean in each window, for each block; NaN if it is not recorded."""
    if statistic in logs.statistics(log, estimator):
        return [windows.mean(row) for row in logs.block_rows(log, estimator, statistic)]
    missing = np.full(len(windows.last), np.nan, dtype=np.float32)
    return [missing] * len(logs.blocks(log))


def _long(
    labels: pd.DataFrame, windows: Windows, values: Mapping[str, Sequence[NDArray[np.floating]]]
) -> pd.DataFrame:
    """Return a row for every label and window; of `values` each has an array for every label."""
    frame = labels.loc[labels.index.repeat(len(windows.last))].reset_index(drop=True)
    frame["update"] = np.tile(windows.last, len(labels))
    flat = {name: np.ravel(arrays).astype(np.float32) for name, arrays in values.items()}
    return frame.assign(**flat)
