"""How the gradient turns during an update: what makes the trapezoid of one end of the step.

The trapezoid is half the sum of the terms at both ends of a step, g(theta_t) * dtheta and
g(theta_(t+1)) * dtheta. The second is `next_batch`, at every update. The first is the second less
the curvature c = (g(theta_(t+1)) - g(theta_t)) * dtheta, so that the trapezoid is next_batch - c/2.

For c, one small batch that had no part in the step serves at both ends: what is noise in its
gradient is much the same at either, and cancels. So c is smooth enough to be measured at some
updates only. They are a stratified sample (Cochran 1977, chapter 5): the updates are divided into
consecutive strata, of which one update each, drawn at random, stands for all. Then the sum over a
training is unbiased, whatever c does between the updates measured. What c does is heavy-tailed: a
step that overshoots has many times the usual. next_batch - own_batch, known of every update, rises
with c, so that a regression on it tells of such steps without having measured them: it is made when
a log is read (`analysis.logs.curvature_slope`), and what is sampled is the rest.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from .allocation import allocate
from .blocks import Partition

DENSE = 16
"""The strata grow by an update each so many updates."""


class Stratum(NamedTuple):
    """Consecutive updates, of which one is measured."""

    first: int
    """Its first update, counted from 1."""
    updates: int
    """Their number."""
    measured: int
    """The one that stands for all."""


def strata(seed: int, longest: int, total: int | None = None) -> Iterator[Stratum]:
    """Yield the strata of updates 1..`total` (None: without end), in order.

    They begin with single updates and grow to `longest`. `seed` decides which are measured; the
    strata themselves are the same for every training, but for the last, which ends at `total`.
    """
    first = 1
    while total is None or first <= total:
        updates = min(longest, 1 + (first - 1) // DENSE)
        if total is not None:
            updates = min(updates, total - first + 1)
        chosen = np.random.default_rng([seed, first]).integers(updates)
        yield Stratum(first, updates, first + int(chosen))
        first += updates


class Schedule:
    """The strata, for a training that goes forward, from wherever it is resumed."""

    def __init__(self, seed: int, longest: int, total: int | None = None) -> None:
        self._strata = strata(seed, longest, total)
        self._current: Stratum | None = next(self._strata, None)

    def updates(self, update: int) -> int:
        """Return for how many updates the curvature of `update` stands; 0: it is not measured.

        To be asked in the order of the updates, but any may be left out or asked again.
        """
        while self._current and update >= self._current.first + self._current.updates:
            self._current = next(self._strata, None)
        if self._current is None or update != self._current.measured:
            return 0
        return self._current.updates


def curvature(
    gradients: Callable[[Sequence[Tensor]], Sequence[Tensor]],
    before: Sequence[Tensor],
    after: Sequence[Tensor],
    partition: Partition,
) -> Tensor:
    """Allocate c, how much the step's slope rises on the way: `(cells, 4)`, see `allocation`.

    `gradients` returns, given parameters, the gradients of the mean loss of a batch that had no
    part in the step, in nats per predicted token: of the same batch, with the same masks of
    dropout, each time. Parameters and gradients are flat float32, in the order of the partition.
    """
    start, end = gradients(before), gradients(after)
    turned = [new - old for old, new in zip(start, end, strict=True)]
    moved = [new - old for old, new in zip(before, after, strict=True)]
    return allocate(turned, moved, partition)
