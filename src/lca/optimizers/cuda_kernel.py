"""The one pass of the optimizers with LCA on CUDA, compiled by Triton.

Each element is read and written once: a program takes a few runs of elements of one head each,
updates them, and writes the sums of each run. The runs' sums, a fraction of a percent of the
parameters, are then added to their cells in double precision, in an order that is always the same.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
import triton
import triton.language as tl
from torch import Tensor

from ..blocks import Slice

WIDTHS = (64, 128, 256, 512, 1024)
"""Elements that a run may have; longer ones are cut."""


class Runs(NamedTuple):
    """Runs of at most `width` elements of one tensor: their starts, lengths and cells."""

    width: int
    starts: Tensor
    lengths: Tensor
    cells: Tensor


def runs(slices: Iterable[tuple[int, Slice]], device: torch.device) -> list[Runs]:
    """Cut slices, given with their place in the tensor, into runs of one head, by width."""
    found = []
    for start, piece in slices:
        number = np.arange(piece.outer * piece.heads)
        cuts = np.arange(0, piece.inner, WIDTHS[-1])
        starts = start + piece.inner * number[:, None] + cuts
        lengths = np.broadcast_to(np.minimum(WIDTHS[-1], piece.inner - cuts), starts.shape)
        cells = np.broadcast_to(piece.cell + (number % piece.heads)[:, None], starts.shape)
        found.append(np.stack([starts.ravel(), lengths.ravel(), cells.ravel()]))
    table = np.concatenate(found, axis=1)
    classes = np.searchsorted(WIDTHS, table[1])
    by_width = []
    for index, width in enumerate(WIDTHS):
        rows = torch.from_numpy(table[:, classes == index]).to(device)
        if rows.shape[1]:
            by_width.append(Runs(width, *rows.contiguous()))
    return by_width


@triton.jit
def _store(terms, sums, row, rows):
    """Write the statistics of `lca.STATISTICS` of each run of terms."""
    place = sums + 4 * row
    tl.store(place, tl.sum(terms, axis=1), mask=row < rows)
    tl.store(place + 1, tl.sum(tl.maximum(terms, 0.0), axis=1), mask=row < rows)
    tl.store(place + 2, tl.sum((terms < 0).to(tl.float32), axis=1), mask=row < rows)
    tl.store(place + 3, tl.sum((terms > 0).to(tl.float32), axis=1), mask=row < rows)


@triton.jit
def _kernel(
    theta_,
    g_,
    m_,
    v_,
    starts,
    lengths,
    own,
    following,
    rows,
    beta1,
    fresh1,
    beta2,
    fresh2,
    size,
    decay,
    keep,
    eps,
    root,
    penalty,
    last_size,
    last_decay,
    last_keep,
    last_eps,
    last_root,
    has_v: tl.constexpr,
    at_once: tl.constexpr,
    width: tl.constexpr,
):
    """Update a few runs and write their sums; see `cpu_kernel` for the arguments."""
    row = tl.program_id(0) * at_once + tl.arange(0, at_once)
    start = tl.load(starts + row, mask=row < rows, other=0)
    length = tl.load(lengths + row, mask=row < rows, other=0)
    column = tl.arange(0, width)
    at = start[:, None] + column[None, :]
    here = column[None, :] < length[:, None]
    theta = tl.load(theta_ + at, mask=here, other=0.0)
    g = tl.load(g_ + at, mask=here, other=0.0)
    m = tl.load(m_ + at, mask=here, other=0.0)
    if has_v:
        v = tl.load(v_ + at, mask=here, other=0.0)
        descent = last_size * m / (tl.sqrt_rn(v) / last_root + last_eps) + last_decay * theta
        moved_last = -descent / last_keep
    else:
        v = m  # not looked at
        moved_last = -last_size * m
    _store(g * moved_last, following, row, rows)

    if has_v:
        pushed = g + penalty * theta
        m = beta1 * m + fresh1 * pushed
        v = beta2 * v + fresh2 * pushed * pushed
        updated = theta - decay * theta - size * m / (tl.sqrt_rn(v) / root + eps)
        tl.store(v_ + at, v, mask=here)
    else:
        m = beta1 * m + g + penalty * theta
        updated = theta - size * m
    _store(g * (updated - theta), own, row, rows)
    tl.store(theta_ + at, updated, mask=here)
    tl.store(m_ + at, m, mask=here)


def update_and_allocate(
    theta: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor | None,
    runs: Iterable[Runs],
    coefficients: Sequence[float],
    own: Tensor,
    following: Tensor,
) -> None:
    """Do as `cpu_kernel.update_and_allocate` does, for all of a tensor's `runs`.

    own, following: `(cells, 4)`, float64.
    """
    for width, starts, lengths, cells in runs:
        rows = len(starts)
        sums = torch.zeros(2, rows, 4, device=theta.device)
        at_once = WIDTHS[-1] // width
        _kernel[(triton.cdiv(rows, at_once),)](
            *(theta, g, m, m if v is None else v, starts, lengths, *sums, rows, *coefficients),
            has_v=v is not None,
            at_once=at_once,
            width=width,
        )
        for allocation, of_runs in zip((own, following), sums.double(), strict=True):
            allocation.index_add_(0, cells, of_runs)
