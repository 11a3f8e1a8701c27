"""The change of the loss between two points, allocated: the gradient integrated along a line.

Lan et al. (2019, section 2): the change of the loss from one point to the other is the integral of
the gradient along the straight line between them, times the displacement. The trapezoidal rule
takes the gradient at both ends; Simpson's rule another in the middle, and so on: intervals are
halved until the integral accounts for the change of the loss, which is measured at the ends.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .allocation import add_terms, allocate
from .blocks import Partition, Slice

Evaluate = Callable[[Sequence[Tensor]], tuple[float, list[Tensor]]]
"""From parameters to the mean loss of fixed batches and its gradients."""


class Integral(NamedTuple):
    """The change of the loss from one point to another, allocated."""

    allocation: Tensor
    """`(cells, 4)`, see `allocation`."""
    before: float
    """The loss at the first point, in nats per predicted token."""
    after: float
    """The loss at the other."""
    intervals: int
    """Into how many the line was divided: with 1 it is the trapezoidal rule."""

    @property
    def change(self) -> float:
        """The change of the loss, as measured."""
        return self.after - self.before

    @property
    def residual(self) -> float:
        """What the allocation leaves unaccounted for of it."""
        return self.change - float(self.allocation[:, 0].sum())


def integrate(
    evaluate: Evaluate,
    before: Sequence[Tensor],
    after: Sequence[Tensor],
    partition: Partition,
    intervals: tuple[int, int],
    tolerance: float,
    share: float = 0.0,
    add: Callable[[Tensor, Slice, Tensor], None] = add_terms,
) -> Integral:
    """Allocate the change of the loss from parameters `before` to `after`.

    The parameters are flat float32, in the order of the partition; `evaluate` is given `before` and
    `after` themselves for the ends, and no point twice. `intervals` are the fewest and the most,
    powers of two: they are halved until the residual is at most `tolerance` in nats, or `share` of
    the larger of what the gradients at the ends say; which of it, the residual tells. `add` is for
    `allocate`.
    """
    fewest, most = intervals
    moved = [new - old for old, new in zip(before, after, strict=True)]
    loss_before, gradients = evaluate(before)
    loss_after, gradients_after = evaluate(after)
    allowed = max(tolerance, *(share * abs(_dot(g, moved)) for g in (gradients, gradients_after)))
    mean = trapezoid = [(a + b) / 2 for a, b in zip(gradients, gradients_after, strict=True)]
    count = 1
    while True:
        if count >= fewest:
            allocation = allocate(mean, moved, partition, add)
            integral = Integral(allocation, loss_before, loss_after, count)
            if abs(integral.residual) <= allowed or count >= most:
                return integral
        count *= 2
        halved = [total / 2 for total in trapezoid]
        for odd in range(1, count, 2):
            between = [old + odd / count * move for old, move in zip(before, moved, strict=True)]
            for total, gradient in zip(halved, evaluate(between)[1], strict=True):
                total.add_(gradient, alpha=1 / count)
        # The trapezoidal rule halved, less the unhalved one, is Simpson's rule.
        mean = [(4 * fine - coarse) / 3 for fine, coarse in zip(halved, trapezoid, strict=True)]
        trapezoid = halved


def _dot(gradients: Sequence[Tensor], moved: Sequence[Tensor]) -> float:
    """Return the dot product over all tensors: a card is waited for once, not for each of them."""
    products = torch.stack([g @ move for g, move in zip(gradients, moved, strict=True)])
    return float(products.sum(dtype=torch.float64))
