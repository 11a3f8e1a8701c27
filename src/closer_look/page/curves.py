"""Curves made small: fewer windows, and numbers of 16 bits in one buffer.

A page that holds seventeen runs' curves has some 100 bytes to spare for each.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from ..analysis.arrays import Floats, Integers
from ..trees import Tree
from ..vocabulary import CELL

BYTES = 2
"""Of a number in the buffer."""


def regroup(values: Floats, ends: Integers, most: int, statistic: str) -> tuple[Floats, Integers]:
    """Reduce `values` (series, windows) to at most `most` windows.

    `ends` are the last updates of the windows. "low" and "high" keep the smallest and the largest;
    any other statistic, a mean over the updates of a window, remains one. Returns the reduced
    values and the ends of their windows.
    """
    starts = np.arange(0, len(ends), -(-len(ends) // most))
    new_ends = ends[np.append(starts[1:], len(ends)) - 1]
    extremes = {"low": np.minimum, "high": np.maximum}
    if statistic in extremes:
        return extremes[statistic].reduceat(values, starts, axis=1), new_ends
    sums = np.add.reduceat(values * np.diff(ends, prepend=0), starts, axis=1)
    return sums / np.diff(new_ends, prepend=0), new_ends


class Buffer:
    """Collects matrices as half-precision floats.

    A row is stored in units of its largest magnitude, so that each number keeps three digits
    however small the row. All low bytes of a matrix come before its high bytes, which are much
    alike: that compresses better.
    """

    def __init__(self) -> None:
        self.bytes = bytearray()

    def add(self, values: Floats) -> Tree:
        """Append a matrix; return its `offset` in bytes and the `scales` of its rows."""
        finite = np.where(np.isfinite(values), values, np.nan)
        scales = np.nan_to_num(np.fmax.reduce(np.abs(finite), axis=1))
        scales[scales == 0] = 1
        halves = (finite / scales[:, None]).astype("<f2")
        offset = len(self.bytes)
        self.bytes += halves.view(np.uint8).reshape(-1, BYTES).T.tobytes()
        return {"offset": offset, "scales": [float(f"{scale:.6g}") for scale in scales]}


def add_curves(
    frame: pd.DataFrame, statistics: Sequence[str], most: int, buffer: Buffer
) -> Iterator[Tree]:
    """Add the curves of one run to the buffer, at most `most` windows of them.

    `frame` has the columns estimator, stack, layer, component, update, the `statistics` and, if it
    is of heads, head. Yields an entry for each estimator: estimator, blocks (a frame with a row for
    each curve), ends (the windows' last updates), statistics (the places in the buffer, by name;
    those that the estimator has none of are left out).
    """
    if "head" not in frame:
        frame = frame.assign(head=0)
    for estimator, rows in frame.groupby("estimator", sort=False):
        wide = rows.pivot(index=CELL, columns="update", values=list(statistics))
        ends = wide[statistics[0]].columns.to_numpy()
        places = {}
        for statistic in statistics:
            values = wide[statistic].to_numpy(np.float64)
            if not np.isnan(values).all():
                reduced, new_ends = regroup(values, ends, most, statistic)
                places[statistic] = buffer.add(reduced)
        yield {
            "estimator": estimator,
            "blocks": wide.index.to_frame(index=False),
            "ends": new_ends.tolist(),
            "statistics": places,
        }
