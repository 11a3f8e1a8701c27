"""The one pass of `optimizer.Adam` on the CPU, compiled by Numba.

Elements are updated and multiplied in runs that stay in the first-level cache, and summed from
there. One call handles many small tensors' worth of elements at the speed of memory, where
separate PyTorch operations would read the parameters a dozen times.
"""

import numpy as np
from numba import njit, types
from numba.extending import intrinsic

RUN = 512
"""Elements of a run: theta, g, m, v and both products take 12 KiB."""


@intrinsic
def _fma(context, a, b, c):
    """Return a * b + c rounded once, as PyTorch's `add` and `addcmul` do."""

    def build(context, builder, signature, arguments):
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), build


@njit(nogil=True, error_model="numpy", cache=True)
def _update(theta, g, m, v, own, moved, beta1, beta2, step, last):
    """Update a run in place; `own` becomes its terms g * dtheta, `moved` the last dtheta.

    `step` and `last` are (size, decay, eps) of this update and of the one before, of which
    theta_t = (theta_(t+1) + size * m / (sqrt(v) + eps)) / (1 - decay).
    """
    one = np.float32(1)
    size, decay, eps = step
    last_size, last_decay, last_eps = last
    for i in range(theta.size):
        descent = last_size * m[i] / (np.sqrt(v[i]) + last_eps) + last_decay * theta[i]
        moved[i] = -descent / (one - last_decay)
        m[i] = _fma(g[i], one - beta1, m[i] * beta1)
        v[i] = _fma((one - beta2) * g[i], g[i], v[i] * beta2)
        before = theta[i]
        decayed = _fma(before, -decay, before)
        theta[i] = decayed + (-size * m[i]) / (np.sqrt(v[i]) + eps)
        own[i] = g[i] * (theta[i] - before)


@njit(nogil=True, error_model="numpy", cache=True, fastmath={"reassoc", "nsz", "contract"})
def _add_terms(terms, cell):
    """Add the sum, the positive part and the number of positive terms of a run to its cell."""
    total, positive, count = np.float32(0), np.float32(0), 0
    for term in terms:
        total += term
        positive += max(term, np.float32(0))
        count += term > 0
    cell[0] += total
    cell[1] += positive
    cell[2] += count


@njit(nogil=True, error_model="numpy", cache=True)
def _multiply(one, other, product):
    """Write the elementwise product of two runs."""
    for i in range(product.size):
        product[i] = one[i] * other[i]


@njit(nogil=True, error_model="numpy", cache=True)
def update_and_allocate(
    theta, g, m, v, before_last, pieces, beta1, beta2, step, last, own, following, second
):
    """Update the elements of `pieces` in place and add their terms to the allocations.

    theta, g, m, v: flat float32. before_last: the displacements of the update before the last one,
    which become those of the last; empty if they are not kept. pieces: int64 rows (start, cell,
    outer, heads, inner), see `blocks.Slice`. beta1, beta2 and the tuples `step` and `last` as of
    `_update`, all float32. own, following, second: float64 `(cells, 3)`, at lags 0, 1 and 2.
    """
    terms, moved = np.empty(RUN, np.float32), np.empty(RUN, np.float32)
    for piece in range(pieces.shape[0]):
        start, cell, outer, heads, inner = pieces[piece]
        for run in range(outer * heads):
            owner = cell + run % heads
            for first in range(start, start + inner, RUN):
                end = min(first + RUN, start + inner)
                part, size = slice(first, end), end - first
                a, b = terms[:size], moved[:size]
                _update(theta[part], g[part], m[part], v[part], a, b, beta1, beta2, step, last)
                _add_terms(a, own[owner])
                _multiply(g[part], b, a)
                _add_terms(a, following[owner])
                if before_last.size:
                    _multiply(g[part], before_last[part], a)
                    _add_terms(a, second[owner])
                    before_last[part] = b
            start += inner
