"""Ground truth: the loss change of one update on fixed batches, integrated along its step.

Lan et al. (2019, section 2): the change of the loss from theta_t to theta_(t+1) is the integral of
the gradient along the straight line between them, times the displacement. Simpson's rule takes the
gradient at both ends and in the middle, and is refined until it accounts for the loss change that
was measured. It costs at least three gradients, so that it is made at scheduled updates only.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from torch import Tensor

from .allocation import allocate
from .blocks import Partition

TOLERANCE = 1e-4
"""Of the loss change, in nats per token, that an integral may leave unaccounted for."""

MOST_INTERVALS = 32
"""At which refinement ends, as in Lan et al."""

Evaluate = Callable[[Sequence[Tensor]], tuple[float, list[Tensor]]]
"""From parameters to the mean loss of the fixed batches and its gradients."""


class Integral(NamedTuple):
    """The loss change of an update, allocated."""

    allocation: Tensor
    """`(cells, 4)`, see `allocation`."""
    before: float
    """The loss at theta_t, in nats per predicted token."""
    after: float
    """The loss at theta_(t+1)."""
    intervals: int
    """Into how many the step was divided."""

    @property
    def residual(self) -> float:
        """What the allocation leaves unaccounted for of the loss change."""
        return self.after - self.before - float(self.allocation[:, 0].sum())


def integrate(
    evaluate: Evaluate,
    before: Sequence[Tensor],
    after: Sequence[Tensor],
    partition: Partition,
    tolerance: float = TOLERANCE,
) -> Integral:
    """Allocate the loss change from parameters `before` to `after` by composite Simpson's rule.

    The parameters are float32, in the order of the partition; `evaluate` is given `before` and
    `after` themselves for the ends. Intervals are halved until the residual is at most `tolerance`,
    or there are `MOST_INTERVALS`; the residual tells which.
    """
    moved = [new - old for old, new in zip(before, after, strict=True)]

    def gradient_at(fraction: float) -> tuple[float, list[Tensor]]:
        return evaluate([old + fraction * move for old, move in zip(before, moved, strict=True)])

    loss_before, gradients = evaluate(before)
    loss_after, gradients_after = evaluate(after)
    # The trapezoidal rule halved, less the unhalved one: (4 T_2n - T_n) / 3 is Simpson's rule.
    trapezoid = [(a + b) / 2 for a, b in zip(gradients, gradients_after, strict=True)]
    intervals = 1
    while True:
        intervals *= 2
        halved = [total / 2 for total in trapezoid]
        for odd in range(1, intervals, 2):
            for total, gradient in zip(halved, gradient_at(odd / intervals)[1], strict=True):
                total.add_(gradient, alpha=1 / intervals)
        mean = [(4 * fine - coarse) / 3 for fine, coarse in zip(halved, trapezoid, strict=True)]
        allocation = allocate(mean, moved, partition)
        found = Integral(allocation, loss_before, loss_after, intervals)
        if abs(found.residual) <= tolerance or intervals >= MOST_INTERVALS:
            return found
        trapezoid = halved
