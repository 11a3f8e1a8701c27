"""The mathematics of Loss Change Allocation: sums of g * dtheta over blocks.

To first order, an update that moves the parameters by dtheta changes the loss by the dot product
of gradient and displacement (paper, section 2.3; Lan et al. 2019, equation 3). Every parameter
element is allocated its own term of it: a negative term lowered the loss ("helped"), a positive
one raised it ("hurt"). Units are those of the gradient's loss: nats per predicted token.

Which gradient is a matter of the estimator:

`own_batch`    of the batch that made the step, at theta_t: the paper's. Biased, since the step was
               chosen to lower the loss of that very batch. With SGD the bias of an update is minus
               the learning rate times the summed variance of the gradient's elements; it does not
               shrink as training goes on, so that sums grow with the number of updates.
`next_batch`   of the next update's batch, at theta_(t+1): free, since the next update computes it
               anyway. That batch had no part in the step, so it is unbiased for the end of the
               step, whatever the optimizer, as long as no text comes twice (see below); but the end
               overlooks half of how the gradient turns during the step, always with one sign where
               the loss is convex along it.
`trapezoid`    of fixed training text, at both ends of a stride of some updates (see `trapezoid`):
               it adds up to the change of the loss on this text, whatever the optimizer and however
               often text is read again.
`probe`        of fixed batches, along a single step by Simpson's rule (see `integral`).

A single update's own_batch or next_batch is mostly the noise of a single batch; sums over many
updates mean something, and how much their scatter tells. Once text is read again, the next batch is
no longer like all others: what is learned of a text by heart is learned in the step that is made of
it, where own_batch sees it, in one batch of many and without an end; until its turn comes again it
is forgotten in part, and that is what next_batch sees of it.

Another remedy for own_batch, either half of a batch with the step that the other half alone would
make, is unbiased at theta_t for SGD only: Adam divides by the root of a mean of squares, which half
a batch, of twice the variance, makes larger, so that its step is too short.

References: Lan, Liu, Zhou and Yosinski, LCA: Loss Change Allocation for Neural Network Training,
NeurIPS 2019, of whom is the allocation and the integration by Simpson's rule on fixed data.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from . import STATISTICS
from .blocks import Partition, Slice


def empty(partition: Partition, device: torch.device | str = "cpu") -> Tensor:
    """Return an allocation of zeros: `(cells, 4)`, a column for each of `lca.STATISTICS`.

    In float64, so that adding thousands of partial sums loses nothing.
    """
    shape = len(partition.owners), len(STATISTICS)
    return torch.zeros(shape, dtype=torch.float64, device=device)


def add_terms(allocation: Tensor, piece: Slice, terms: Tensor) -> None:
    """Add the terms g * dtheta of a slice's elements, `(elements,)` in float32, to its cells.

    `allocation` is `(cells, 4)`.
    """
    view = terms.view(piece.outer, piece.heads, piece.inner)
    cells = allocation[piece.cell : piece.cell + piece.heads]
    cells[:, 0] += view.sum(dim=(0, 2))
    cells[:, 1] += view.clamp(min=0).sum(dim=(0, 2))
    cells[:, 2] += (view < 0).sum(dim=(0, 2))
    cells[:, 3] += (view > 0).sum(dim=(0, 2))


def add_sum(allocation: Tensor, piece: Slice, terms: Tensor) -> None:
    """Add the sum of such terms, `(elements,)`, alone: to the first column of `(cells, 4)`.

    It takes a quarter of the time.
    """
    view = terms.view(piece.outer, piece.heads, piece.inner)
    allocation[piece.cell : piece.cell + piece.heads, 0] += view.sum(dim=(0, 2))


def allocate(
    gradients: Sequence[Tensor],
    displacements: Sequence[Tensor],
    partition: Partition,
    add: Callable[[Tensor, Slice, Tensor], None] = add_terms,
) -> Tensor:
    """Return the allocation of all terms g * dtheta, tensor by tensor: `(cells, 4)`.

    Both sequences are in the order of the partition's parameters. With `add_sum`, all but the first
    column stay zero.
    """
    allocation = empty(partition, gradients[0].device)
    terms = [(g * move).view(-1) for g, move in zip(gradients, displacements, strict=True)]
    for piece in partition.slices:
        span = slice(piece.start, piece.start + piece.numel)
        add(allocation, piece, terms[piece.parameter][span])
    return allocation


def per_block(allocation: Tensor, partition: Partition) -> Tensor:
    """Sum an allocation over the heads of each block: `(cells, 4)` to `(blocks, 4)`."""
    owners = torch.tensor(partition.owners, device=allocation.device)
    blocks = allocation.new_zeros(len(partition.blocks), allocation.shape[1])
    return blocks.index_add_(0, owners, allocation)


def check_total(
    allocation: Tensor,
    gradients: Sequence[Tensor],
    before: Sequence[Tensor],
    after: Sequence[Tensor],
    scale: float = 1.0,
) -> None:
    """Raise `RuntimeError` unless the blocks add up to the whole dot product g * dtheta / scale.

    The difference may be 1e-5 of what the positive and negative terms come to without their signs.
    """
    terms = [g * (new - old) for g, old, new in zip(gradients, before, after, strict=True)]
    whole = sum(float(term.sum(dtype=torch.float64)) for term in terms) / scale
    size = sum(float(term.abs().sum(dtype=torch.float64)) for term in terms) / scale
    total = float(allocation[:, 0].sum())
    # Not "abs(...) > ...", which lets pass what is not a number.
    if not (math.isfinite(size) and abs(total - whole) <= 1e-5 * size):
        raise RuntimeError(
            f"LCA of the blocks adds up to {total}, the whole dot product is {whole}"
        )
