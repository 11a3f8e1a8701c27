"""Consecutive windows of updates, to which long series are reduced."""

import numpy as np
from numpy.typing import NDArray

MOST = 1000
"""Windows of a run in the tables: more than a figure can show."""


class Windows:
    """At most `most` windows of equal length that cover updates 1..`updates`.

    `size` is their length in updates (the last one may be shorter), `last` the last update of each.
    """

    def __init__(self, updates: int, most: int = MOST) -> None:
        self.size = -(-updates // most)
        self._starts = np.arange(0, updates, self.size)
        self.last = np.append(self._starts[1:], updates).astype(np.int32)

    def sum(self, row: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the sum of a series in each window, in double precision."""
        return np.add.reduceat(row, self._starts, dtype=np.float64)

    def mean(self, row: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return the mean of a series in each window, summed in double precision, as float32."""
        return (self.sum(row) / np.diff(self.last, prepend=0)).astype(np.float32)

    def low(self, row: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the smallest value of a series in each window."""
        return np.minimum.reduceat(row, self._starts)

    def high(self, row: NDArray[np.floating]) -> NDArray[np.floating]:
        """Return the largest value of a series in each window."""
        return np.maximum.reduceat(row, self._starts)
