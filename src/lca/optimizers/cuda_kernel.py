"""The one pass of the optimizers with LCA on CUDA, compiled by Triton.

All tensors are updated at once, each element read and written once: a program takes a few runs of
elements of one head each, updates them, and writes the sums of each run. The runs' sums, a fraction
of a percent of the parameters, are then added up cell by cell, in double precision and in an order
that is always the same.
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


AT_ONCE = 1024
"""Sums of runs that are added to their cell at a time."""


class Runs(NamedTuple):
    """Runs of at most `width` elements, in the order of their cells."""

    width: int
    tensors: Tensor
    starts: Tensor
    """In the tensors."""
    lengths: Tensor
    cells: Tensor
    """Those that have runs of this width."""
    firsts: Tensor
    """The number of each cell's first run, and that of all runs."""


def runs(slices: Iterable[tuple[int, int, Slice]], device: torch.device) -> list[Runs]:
    """Cut slices, given with their tensor and place in it, into runs of one head, by width."""
    found = []
    for tensor, start, piece in slices:
        number = np.arange(piece.outer * piece.heads)
        cuts = np.arange(0, piece.inner, WIDTHS[-1])
        starts = start + piece.inner * number[:, None] + cuts
        lengths = np.broadcast_to(np.minimum(WIDTHS[-1], piece.inner - cuts), starts.shape)
        cells = np.broadcast_to(piece.cell + (number % piece.heads)[:, None], starts.shape)
        tensors = np.full(starts.shape, tensor)
        columns = (tensors, starts, lengths, cells)
        found.append(np.stack([column.ravel() for column in columns]))
    table = np.concatenate(found, axis=1)
    classes = np.searchsorted(WIDTHS, table[2])
    by_width = []
    for index, width in enumerate(WIDTHS):
        rows = table[:, classes == index]
        if rows.shape[1]:
            rows = np.ascontiguousarray(rows[:, np.argsort(rows[3], kind="stable")])
            cells, firsts = np.unique(rows[3], return_index=True)
            of_width = (*rows[:3], cells, np.append(firsts, rows.shape[1]))
            by_width.append(Runs(width, *(torch.from_numpy(each).to(device) for each in of_width)))
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
def _pointer(pointers, tensor, index: tl.constexpr):
    """Return where the tensors have their first elements: (runs, 1)."""
    place = tl.load(pointers + 4 * tensor + index)
    return place.to(tl.pointer_type(tl.float32))[:, None]


@triton.jit
def _coefficient(coefficients, tensor, index: tl.constexpr):
    """Return one coefficient of each run's tensor: (runs, 1)."""
    return tl.load(coefficients + 15 * tensor + index)[:, None]


@triton.jit
def _kernel(
    pointers,
    coefficients,
    tensors,
    starts,
    lengths,
    own,
    following,
    rows,
    has_v: tl.constexpr,
    at_once: tl.constexpr,
    width: tl.constexpr,
):
    """Update a few runs and write their sums.

    pointers: (tensors, 4), the addresses of theta, g, m and v, or zeros for a tensor that stays.
    coefficients: (tensors, 15), see `cpu_kernel.update_and_allocate`.
    """
    row = tl.program_id(0) * at_once + tl.arange(0, at_once)
    tensor = tl.load(tensors + row, mask=row < rows, other=0)
    start = tl.load(starts + row, mask=row < rows, other=0)
    length = tl.load(lengths + row, mask=row < rows, other=0)
    moves = tl.load(pointers + 4 * tensor) != 0
    column = tl.arange(0, width)
    at = start[:, None] + column[None, :]
    here = (column[None, :] < length[:, None]) & moves[:, None]
    theta_, g_ = _pointer(pointers, tensor, 0) + at, _pointer(pointers, tensor, 1) + at
    m_, v_ = _pointer(pointers, tensor, 2) + at, _pointer(pointers, tensor, 3) + at
    theta = tl.load(theta_, mask=here, other=0.0)
    g = tl.load(g_, mask=here, other=0.0)
    m = tl.load(m_, mask=here, other=0.0)
    beta1, fresh1 = _coefficient(coefficients, tensor, 0), _coefficient(coefficients, tensor, 1)
    size, penalty = _coefficient(coefficients, tensor, 4), _coefficient(coefficients, tensor, 9)
    last_size = _coefficient(coefficients, tensor, 10)
    if has_v:
        beta2, fresh2 = _coefficient(coefficients, tensor, 2), _coefficient(coefficients, tensor, 3)
        decay, eps = _coefficient(coefficients, tensor, 5), _coefficient(coefficients, tensor, 7)
        root = _coefficient(coefficients, tensor, 8)
        last_decay = _coefficient(coefficients, tensor, 11)
        last_keep = _coefficient(coefficients, tensor, 12)
        last_eps = _coefficient(coefficients, tensor, 13)
        last_root = _coefficient(coefficients, tensor, 14)
        v = tl.load(v_, mask=here, other=1.0)  # which can be divided by
        descent = last_size * m / (tl.sqrt_rn(v) / last_root + last_eps) + last_decay * theta
        _store(g * (-descent / last_keep), following, row, rows)
        pushed = g + penalty * theta
        m = beta1 * m + fresh1 * pushed
        v = beta2 * v + fresh2 * pushed * pushed
        updated = theta - decay * theta - size * m / (tl.sqrt_rn(v) / root + eps)
        tl.store(v_, v, mask=here)
    else:
        _store(g * (-last_size * m), following, row, rows)
        m = beta1 * m + g + penalty * theta
        updated = theta - size * m
    _store(g * (updated - theta), own, row, rows)
    tl.store(theta_, updated, mask=here)
    tl.store(m_, m, mask=here)


@triton.jit
def _add_kernel(sums, cells, firsts, allocation, at_once: tl.constexpr):
    """Add the sums of a cell's runs, (rows, 4), to those of the cell."""
    place, number = tl.program_id(0), tl.arange(0, 4)
    end = tl.load(firsts + place + 1)
    total = tl.zeros((4,), tl.float64)
    for first in range(tl.load(firsts + place), end, at_once):
        row = first + tl.arange(0, at_once)[:, None]
        of_runs = tl.load(sums + 4 * row + number[None, :], mask=row < end, other=0.0)
        total += tl.sum(of_runs.to(tl.float64), axis=0)
    of_cell = allocation + 4 * tl.load(cells + place) + number
    tl.store(of_cell, tl.load(of_cell) + total)


def update_and_allocate(
    tensors: Sequence[tuple[Tensor, Tensor, Tensor, Tensor | None] | None],
    coefficients: Sequence[Sequence[float]],
    runs: Iterable[Runs],
    own: Tensor,
    following: Tensor,
) -> None:
    """Do as `cpu_kernel.update_and_allocate` does, for all `runs` of all tensors.

    tensors: theta, g, m and v (or None, of SGD) of each, float32; None for one that stays.
    coefficients: 15 of each. own, following: `(cells, 4)`, float64.
    """
    has_v = any(views is not None and views[3] is not None for views in tensors)
    places = [
        [0] * 4 if views is None else [0 if view is None else view.data_ptr() for view in views]
        for views in tensors
    ]
    pointers = torch.tensor(places).to(own.device)
    table = torch.tensor(coefficients, dtype=torch.float32).to(own.device)
    for width, of_tensor, starts, lengths, cells, firsts in runs:
        rows = len(starts)
        sums = torch.empty(2, rows, 4, device=own.device)
        at_once = WIDTHS[-1] // width
        _kernel[(triton.cdiv(rows, at_once),)](
            *(pointers, table, of_tensor, starts, lengths, *sums, rows),
            has_v=has_v,
            at_once=at_once,
            width=width,
        )
        for allocation, of_runs in zip((own, following), sums, strict=True):
            _add_kernel[(len(cells),)](of_runs, cells, firsts, allocation, at_once=AT_ONCE)
