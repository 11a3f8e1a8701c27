"""The trapezoidal rule along the path of a training: an allocation that adds up.

The change of the loss from theta_0 to theta_T is the integral of the gradient along any path from
one to the other, and so is, term by term, what each parameter did to it (Lan et al. 2019, section
2). The path of a training is followed in strides of a few updates. Each is allocated by the
trapezoidal rule: the mean of the gradients at its ends, times the displacement between them. The
gradients are of some fixed text, the same at both ends and all along, with the same masks of
dropout: hence what is allocated adds up to the change of the loss on this text, but for what the
rule itself is off. That is known, since the loss at the ends is; where it is more than a little,
the stride is halved, and its halves again (see `integral`). Of a single block, what it is off is
not known: a stride goes straight where the training did not (`python -m bench.plateau --only
blocks`).

No use is made of the batches that are trained on. A gradient of the next batch, which costs
nothing, is unbiased only while no text comes twice: what a model learns of a text by heart, it
learns in the very step that is made of it, and forgets again until its turn comes; the next batch
is the text whose turn comes, and shows the forgetting alone.

The text is in groups, each allocated by itself: how they differ says how uncertain everything that
is told from them is (random groups; Wolter 2007, chapter 2).
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .allocation import add_sum
from .blocks import Partition
from .integral import Integral, integrate

DENSE = 8
"""The strides grow by an update each so many updates: most of the path is behind the first."""

GROUPS = 8
"""Into which the text is divided."""

TOLERANCE, LEAST = 0.01, 1e-5
"""How far the rule may be off: as a share of the larger of its terms, in nats."""

MOST_INTERVALS = 8
"""Of a stride, at which refinement ends."""


class Strides:
    """Where strides end in the updates 1..`total` (None: without end).

    They begin with single updates and grow to `longest`; the last ends at `total`.
    """

    def __init__(self, longest: int, total: int | None = None) -> None:
        self._longest, self._total = longest, total
        self._end = 0

    def end_at(self, update: int) -> bool:
        """Return whether a stride ends with `update`.

        To be asked in the order of the updates, but any may be left out or asked again.
        """
        if self._total is not None and update >= self._total:
            return update == self._total
        while self._end < update:
            self._end += min(self._longest, 1 + self._end // DENSE)
        return update == self._end


class Stride(NamedTuple):
    """Where the stride began that a training is in; a checkpoint keeps it."""

    after: int
    """The update before it, or 0."""
    values: list[Tensor]
    """The parameters there, in the memory of the host."""

    @classmethod
    def begin(cls, after: int, values: Sequence[Tensor]) -> "Stride":
        """Return the stride that begins after an update, which left these parameters."""
        return cls(after, [value.to("cpu", copy=True) for value in values])

    def end(
        self,
        update: int,
        values: Sequence[Tensor],
        measure: Callable[[Sequence[Tensor], Sequence[Tensor]], list[Integral]],
    ) -> tuple[dict[str, Any], Tensor]:
        """Return what is recorded of the stride that ends with `update`, which left `values`.

        That are facts (see `recorder.FACTS`) and the allocation, `(groups, cells, 4)`. `measure`
        returns what happened between parameters before and after, as `trapezoid` does.
        """
        before = [old.to(new.device) for old, new in zip(self.values, values, strict=True)]
        groups = measure(before, values)
        facts = {
            "trapezoid/updates": update - self.after,
            "trapezoid/changes": [group.change for group in groups],
        }
        return facts, torch.stack([group.allocation for group in groups])


Evaluate = Callable[[int, Sequence[Tensor]], tuple[float, list[Tensor]]]
"""From the number of a group and parameters to its mean loss and the gradients."""


def trapezoid(
    evaluate: Evaluate,
    groups: int,
    before: Sequence[Tensor],
    after: Sequence[Tensor],
    partition: Partition,
) -> list[Integral]:
    """Allocate the loss change from parameters `before` to `after`, group by group.

    `evaluate` takes the same text with the same masks of dropout each time it is given a group.
    Parameters and gradients are flat float32, in the order of the partition. Of the allocations
    there is the sum alone.
    """
    limits = (1, MOST_INTERVALS), LEAST, TOLERANCE, add_sum
    return [
        integrate(partial(evaluate, group), before, after, partition, *limits)
        for group in range(groups)
    ]
