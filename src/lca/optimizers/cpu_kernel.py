"""The one pass of the optimizers with LCA on the CPU, compiled by Numba.

Elements are updated and multiplied in runs that stay in the first-level cache, and summed from
there. One call handles many small tensors' worth of elements at the speed of memory, where
separate PyTorch operations would read the parameters a dozen times.

The rule is Adam's, or that of SGD with momentum if `v` is None. Numba compiles the pass for either
on its own, without the other's branches. The functions it calls are made part of it: on their own
they would be compiled once more, and might be summed in another order by the process that compiles
than by those that find its code in Numba's cache.
"""

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numba.np.unsafe.ndarray import to_fixed_tuple

RUN = 512
"""Elements of a run: theta, g, m, v and the terms take 12 KiB."""


@intrinsic
def _fma(context, a, b, c):
    """Return a * b + c rounded once, as PyTorch's `add` and `addcmul` do."""

    def build(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), build


@njit(error_model="numpy", forceinline=True)
def _update(theta, g, m, v, own, following, coefficients, torch_order):
    """Update a run in place; `own` becomes its terms g * dtheta, `following` those of the last.

    `coefficients` and `torch_order` are as of `update_and_allocate`. Of the update before, Adam has
    theta_t = (theta_(t+1) + size * m / (sqrt(v) / root + eps)) / (1 - decay).
    """
    beta1, fresh1, beta2, fresh2 = coefficients[0:4]
    size, decay, keep, eps, root, penalty = coefficients[4:10]
    last_size, last_decay, last_keep, last_eps, last_root = coefficients[10:15]
    for i in range(theta.size):
        before = theta[i]
        if v is None:
            following[i] = g[i] * (-last_size * m[i])
            m[i] = m[i] * beta1 + _fma(before, penalty, g[i])
            theta[i] = _fma(m[i], -size, before)
        else:
            width = np.sqrt(v[i]) / last_root + last_eps
            following[i] = g[i] * (-(last_size * m[i] / width + last_decay * before) / last_keep)
            if torch_order is None:
                m[i] = _fma(g[i], fresh1, m[i] * beta1)
                v[i] = _fma(fresh2 * g[i], g[i], v[i] * beta2)
                decayed = _fma(before, -decay, before)
                theta[i] = decayed + (-size * m[i]) / (np.sqrt(v[i]) + eps)
            else:
                decayed = before * keep
                pushed = _fma(decayed, penalty, g[i])
                m[i] = _fma(fresh1, pushed - m[i], m[i])
                v[i] = _fma(fresh2 * pushed, pushed, v[i] * beta2)
                theta[i] = decayed + (-size * m[i]) / (np.sqrt(v[i]) / root + eps)
        own[i] = g[i] * (theta[i] - before)


@njit(error_model="numpy", forceinline=True, fastmath={"reassoc", "nsz", "contract"})
def _add_terms(terms, cell):
    """Add a run's sum, positive part, and numbers of negative and positive terms to its cell."""
    zero, one = np.float32(0), np.float32(1)
    total, positive, helping, hurting = zero, zero, zero, zero  # a run's counts are exact
    for i in range(terms.size):  # iterating over the array itself is not vectorized
        term = terms[i]
        total += term
        positive += term if term > zero else zero
        helping += one if term < zero else zero
        hurting += one if term > zero else zero
    cell[0] += total
    cell[1] += positive
    cell[2] += helping
    cell[3] += hurting


@njit(nogil=True, error_model="numpy", cache=True)
def update_and_allocate(theta, g, m, v, pieces, coefficients, own, following, torch_order):
    """Update the elements of `pieces` in place and add their terms to the allocations.

    theta, g, m, v: flat float32; v is None for SGD. pieces: int64 rows (start, cell, outer, heads,
    inner), see `blocks.Slice`. coefficients: as `base.Job` has them; float32, rounded once from
    what is double precision in Python. own, following: float64 `(cells, 4)`, see `allocation`.
    torch_order: whether Adam's moments and decay are computed as in PyTorch, or None for as in
    fairseq; not looked at for SGD.
    """
    of_run = to_fixed_tuple(coefficients, 15)
    terms, lagged = np.empty(RUN, np.float32), np.empty(RUN, np.float32)
    for piece in range(pieces.shape[0]):
        start, cell, outer, heads, inner = pieces[piece]
        for run in range(outer * heads):
            owner = cell + run % heads
            for first in range(start, start + inner, RUN):
                end = min(first + RUN, start + inner)
                span, size = slice(first, end), end - first
                a, b = terms[:size], lagged[:size]
                views = theta[span], g[span], m[span], None if v is None else v[span]
                _update(*views, a, b, of_run, torch_order)
                _add_terms(a, own[owner])
                _add_terms(b, following[owner])
            start += inner
