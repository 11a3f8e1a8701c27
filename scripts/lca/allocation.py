"""The mathematics of Loss Change Allocation: sums of g * dtheta over blocks.

To first order, an update that moves the parameters by dtheta changes the loss by the dot product
of gradient and displacement (paper, section 2.3; Lan et al. 2019, equation 3). Every parameter
element is allocated its own term of it: a negative term lowered the loss ("helped"), a positive
one raised it ("hurt"). Units are those of the gradient's loss: nats per predicted token.

Which gradient is a matter of the estimator:

`own_batch`   of the batch that made the step, at theta_t: the paper's. Biased, since the step was
              chosen to lower the loss of that very batch.
`next_batch`  of the next update's batch, at theta_(t+1): unbiased at the end of the step, and free,
              since the next update computes it anyway.
`midpoint`    next_batch + (next_batch - second_batch) / (2 beta1), where `second_batch` takes the
              gradient of one update further on, at theta_(t+2): extrapolated from the step's end to
              its middle, where first order is exact for a quadratic loss. From theta_(t+1) to
              theta_(t+2) the gradient changes by H dtheta_(t+1), and of dtheta_(t+1) momentum makes
              beta1 dtheta_t; half of H dtheta_t is what is missing. Costs a copy of dtheta.
"""

import torch
from torch import Tensor

from . import STATISTICS
from .blocks import Partition, Slice


def empty(partition: Partition, device: torch.device | str = "cpu") -> Tensor:
    """Return an allocation of zeros: `(cells, 3)`, a column for each of `lca.STATISTICS`.

    In float64, so that adding thousands of partial sums loses nothing.
    """
    shape = len(partition.owners), len(STATISTICS)
    return torch.zeros(shape, dtype=torch.float64, device=device)


def add_terms(allocation: Tensor, piece: Slice, terms: Tensor) -> None:
    """Add the terms g * dtheta of a slice's elements (flat, float32) to the slice's cells."""
    view = terms.view(piece.outer, piece.heads, piece.inner)
    cells = allocation[piece.cell : piece.cell + piece.heads]
    cells[:, 0] += view.sum(dim=(0, 2))
    cells[:, 1] += view.clamp(min=0).sum(dim=(0, 2))
    cells[:, 2] += (view > 0).sum(dim=(0, 2))


def per_block(allocation: Tensor, partition: Partition) -> Tensor:
    """Sum an allocation over the heads of each block: `(cells, 3)` to `(blocks, 3)`."""
    blocks = allocation.new_zeros(len(partition.blocks), allocation.shape[1])
    return blocks.index_add_(0, torch.tensor(partition.owners), allocation)
