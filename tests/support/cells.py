"""Which cell of an allocation each parameter element counts into, written out."""

import torch

from lca.blocks import Partition


def placed(part: Partition) -> list[torch.Tensor]:
    """Return the cell of every element, -1 where there is none, by way of the slices' views."""
    cells = [torch.full((size,), -1) for size in part.sizes]
    for piece in part.slices:
        heads = torch.arange(piece.heads).view(1, -1, 1) + piece.cell
        view = cells[piece.parameter][piece.start : piece.start + piece.numel]
        assert (view == -1).all()
        view.copy_(heads.expand(piece.outer, piece.heads, piece.inner).reshape(-1))
    return cells
