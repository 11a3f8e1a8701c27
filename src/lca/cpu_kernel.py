"""The one pass of the optimizers with LCA on the CPU, compiled by Numba.

Elements are updated and multiplied in runs that stay in the first-level cache, and summed from
there. One call handles many small tensors' worth of elements at the speed of memory, where
separate PyTorch operations would read the parameters a dozen times.

The rule is Adam's, or that of SGD with momentum if `v` is None. Numba compiles the pass for either
on its own, without the other's branches.
"""

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

RUN = 512
"""Elements of a run: theta, g, m, v and the terms take 12 KiB."""


@intrinsic
def _fma(context, a, b, c):
    """Return a * b + c rounded once, as PyTorch's `add` and `addcmul` do."""

    def build(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), build


@njit(nogil=True, error_model="numpy", cache=True)
def _update(theta, g, m, v, own, following, beta1, beta2, step, last):
    """Update a run in place; `own` becomes its terms g * dtheta, `following` those of the last.

    `step` and `last` are (size, decay, eps) of this update and of the one before, of which Adam has
    theta_t = (theta_(t+1) + size * m / (sqrt(v) + eps)) / (1 - decay).
    """
    one = np.float32(1)
    size, decay, eps = step
    last_size, last_decay, last_eps = last
    for i in range(theta.size):
        before = theta[i]
        if v is None:
            following[i] = g[i] * (-last_size * m[i])
            m[i] = m[i] * beta1 + _fma(before, decay, g[i])
            theta[i] = _fma(m[i], -size, before)
        else:
            descent = last_size * m[i] / (np.sqrt(v[i]) + last_eps) + last_decay * before
            following[i] = g[i] * (-descent / (one - last_decay))
            m[i] = _fma(g[i], one - beta1, m[i] * beta1)
            v[i] = _fma((one - beta2) * g[i], g[i], v[i] * beta2)
            decayed = _fma(before, -decay, before)
            theta[i] = decayed + (-size * m[i]) / (np.sqrt(v[i]) + eps)
        own[i] = g[i] * (theta[i] - before)


@njit(nogil=True, error_model="numpy", cache=True)
def _cross(theta, g, m, v, part, terms, beta1, beta2, step, share, scale):
    """Write the terms of `allocation`'s cross_batch of a run that is about to be updated.

    `scale * part` is what the first part of the batch, a `share` of it, contributed to g.
    """
    one = np.float32(1)
    size, decay, eps = step
    rest = one - share
    to_first, to_second = scale / share, one / rest
    for i in range(theta.size):
        first = to_first * part[i]
        second = to_second * (g[i] - scale * part[i])
        if v is None:
            carried = beta1 * m[i] + decay * theta[i]
            moved_by_first = -size * (carried + first)
            moved_by_second = -size * (carried + second)
        else:
            m_decayed, v_decayed = beta1 * m[i], beta2 * v[i]
            m_first = m_decayed + (one - beta1) * first
            m_second = m_decayed + (one - beta1) * second
            v_first = np.sqrt(v_decayed + (one - beta2) * first * first) + eps
            v_second = np.sqrt(v_decayed + (one - beta2) * second * second) + eps
            moved_by_first = -size * m_first / v_first - decay * theta[i]
            moved_by_second = -size * m_second / v_second - decay * theta[i]
        terms[i] = share * second * moved_by_first + rest * first * moved_by_second


@njit(nogil=True, error_model="numpy", cache=True, fastmath={"reassoc", "nsz", "contract"})
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
def update_and_allocate(
    theta, g, m, v, part, pieces, beta1, beta2, step, last, share, scale, own, cross, following
):
    """Update the elements of `pieces` in place and add their terms to the allocations.

    theta, g, m, v: flat float32; v is None for SGD. part: of the same length, or empty for no
    `cross`; see `_cross` for it, `share` and `scale`. pieces: int64 rows (start, cell, outer,
    heads, inner), see `blocks.Slice`. beta1, beta2 and the tuples `step` and `last`: as of
    `_update`, all float32. own, cross, following: float64 `(cells, 4)`, see `allocation`.
    """
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
                if part.size:
                    _cross(*views, part[span], a, beta1, beta2, step, share, scale)
                    _add_terms(a, cross[owner])
                _update(*views, a, b, beta1, beta2, step, last)
                _add_terms(a, own[owner])
                _add_terms(b, following[owner])
            start += inner
