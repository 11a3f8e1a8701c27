"""Standard errors: of sums over the updates of a training, of losses on a sample, of their ratio.

Each of them is such that `INTERVAL` of it to either side are an interval of 95 %: where it rests on
few independent values, it is widened as Student's t is over the normal distribution.

What one update is said to have changed is a sample: its gradient is of one batch. The sum over a
training is so, too, and its error must come from its own scatter, for there is one training. That
scatter has a trend, fades, and is correlated over time, by momentum. Hence, for at most
`windows.MOST` sums of consecutive updates (see `cumulative_errors`):

- the trend is fitted by a regression spline with knots even in the logarithm of time, since most
  happens early; residuals are corrected for their leverage, as in the estimator HC2;
- the residuals, divided by their smoothed scale, are fitted by an autoregression, the order chosen
  by BIC, whose spectrum at frequency zero says how many times more a sum varies than its terms
  would if independent (Berk 1974; `spectrum0.ar` of R's coda does the same for Markov chains);
- what fitting a trend takes from the slow part of the noise is put back, in the covariances and in
  the leverage.

Of the trapezoid, whose text is fixed and in groups, all that is told has its error from how the
groups differ instead (see `mean_error`).

How many of 100 such intervals hold the truth, on series of known trend and noise, as measured by
`python -m bench.intervals --repetitions 400` (a share of 95 % is uncertain by 1.1 %; of 125,000
updates, by `--updates 125000 --scatter 0.01 --repetitions 200`, and of the longer ones the first
trend alone):

| updates | white | AR(1), 0.5 | AR(1), 0.9 | mean of 10 |
|---|---|---|---|---|
| 200 | 94 | 95 to 99 | 90 to 100 | 97 to 100 |
| 3,000 | 94 | 95 to 96 | 95 to 96 | 93 to 95 |
| 125,000 | 97 | 96 | 94 | 94 |

Too many are intervals that are too wide: their mean square error is up to 1.14 times the true one
where noise is white, and up to 4 times where 200 updates hold a steep trend besides noise that is
correlated over ten.
"""

import math
from functools import lru_cache

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from scipy.linalg import solve_toeplitz
from scipy.special import ndtri, stdtrit

Floats = NDArray[np.float64]

INTERVAL = 1.96
"""Standard errors to either side that make an interval of 95 %."""

FEWEST = 20
"""Windows from which a standard error can be told; of fewer it is NaN."""

FEWEST_BATCHES = 8
"""The same of batches, or groups of them."""

BEGIN = 0.02
"""Time runs as the logarithm of this share of the training, plus what is done."""

SCALE_COLUMNS = 4
"""Columns of the spline for the logarithm of the scatter."""

MOST_LEVERAGE = 0.5
"""Of the variance of a residual, how much the trend may be held to have taken at most."""

MOST_CORRECTION = 2.5
"""By how much the correction for the trend may raise the correlation found without it."""


def cumulative_errors(means: NDArray[np.floating], ends: NDArray[np.integer]) -> Floats:
    """Return the standard error of a series' sum up to the end of each window.

    `means` are the series' means in consecutive windows, the last updates of which are `ends` (see
    `Windows`). The last value is the error of the whole sum; in units of the series, times updates.
    NaN up to windows before the `FEWEST`th, which the trend follows too closely, or if values are
    missing.
    """
    widths = np.diff(ends, prepend=0)
    sums = np.asarray(means, dtype=float) * widths
    if len(sums) < FEWEST or not np.isfinite(sums).all():
        return np.full(len(sums), np.nan)
    scale, residuals, leverage = _detrended(sums, widths)
    if not residuals.any():
        return np.zeros(len(sums))
    inflation = _inflation(residuals / scale, leverage.mean())
    lost = np.minimum(leverage * inflation, MOST_LEVERAGE)
    variance = np.cumsum(residuals**2 / (1 - lost)) * inflation
    weights = scale**2 / (scale**2).sum()
    independent = (1 - leverage @ weights) / (weights @ weights) / max(1.0, inflation)
    variance[: FEWEST - 1] = np.nan
    return np.sqrt(variance) * _widening(independent / 2)  # for the correlation is estimated, too


def sum_error(means: NDArray[np.floating], ends: NDArray[np.integer]) -> float:
    """Return the standard error of the sum of a whole series, given as to `cumulative_errors`."""
    return float(cumulative_errors(means, ends)[-1])


def mean_error(values: NDArray[np.floating], weights: NDArray[np.floating]) -> float:
    """Return the standard error of the weighted mean of independent values.

    It is that of a ratio estimator: of a loss per token, the values being means of batches and the
    weights their tokens. Of the change of a loss the values are the changes of the batches, so that
    what makes batches differ drops out. NaN if they are fewer than `FEWEST_BATCHES`.
    """
    if len(values) < FEWEST_BATCHES:
        return np.nan
    return float(np.sqrt((apart(values, weights) ** 2).sum()) * _widening(len(values) - 1))


def apart(values: NDArray[np.floating], weights: NDArray[np.floating]) -> Floats:
    """Return by how much each of independent values (..., value) moves their weighted mean.

    The root of the sum of the squares is the mean's standard error, but for few values; so it is of
    sums over several such means, of what each value moves in all of them.
    """
    number, shares = len(weights), weights / weights.sum()
    means = (values @ shares)[..., None]
    moved: Floats = np.sqrt(number / max(1, number - 1)) * shares * (values - means)
    return moved


def ratio_error(
    part: pd.Series, whole: pd.Series, part_error: pd.Series, whole_error: pd.Series
) -> pd.Series:
    """Return the standard error of `part / whole`, whose errors are independent (delta method)."""
    error: pd.Series = np.hypot(part_error, part / whole * whole_error) / np.abs(whole)
    return error


def percent(ratio: float, error: float) -> str:
    """Return a ratio with its standard error as text, such as "98.8 ± 2.7 %".

    The error has two digits, at most one of them a decimal; if it is unknown, the ratio is whole.
    """
    ratio, error = 100 * ratio, 100 * error
    if not np.isfinite(error):
        text = f"{ratio:.0f} %"
    elif error < 9.95:
        text = f"{ratio:.1f} ± {error:.1f} %"
    else:
        text = f"{ratio:.0f} ± {error:.0f} %"
    return text.replace("-", "−")


def _widening(freedom: float) -> float:
    """Return how much longer intervals of 95 % are with Student's t than with the normal."""
    return float(stdtrit(max(3, freedom), 0.975) / ndtri(0.975))


def _detrended(sums: Floats, widths: NDArray[np.integer]) -> tuple[Floats, Floats, Floats]:
    """Return the scale of the sums' scatter, their residuals from the trend, and the leverage."""
    number = len(sums)
    trend = _spline(number, round(2.5 + 0.3 * number**0.5)) * widths[:, None]
    smoother = _orthonormal(_spline(number, SCALE_COLUMNS))
    scale = np.ones(number)
    for _ in range(3):
        basis = _orthonormal(trend / scale[:, None])
        residuals = sums - scale * (basis @ (basis.T @ (sums / scale)))
        leverage = (basis**2).sum(axis=1)
        if np.abs(residuals).max() <= 1e-6 * np.abs(sums).max():  # rounding, not noise
            return scale, np.zeros(number), leverage
        last = scale
        squares = residuals**2 / (1 - np.minimum(leverage, MOST_LEVERAGE))
        logarithms = np.log(squares + 1e-4 * squares.mean())
        scale = np.exp(smoother @ (smoother.T @ logarithms) / 2)
    return last, residuals, leverage


def _orthonormal(columns: Floats) -> Floats:
    """Return an orthonormal basis of what the columns span, which are many fewer than the rows."""
    factor = np.linalg.cholesky(columns.T @ columns)
    return columns @ np.linalg.inv(factor).T


@lru_cache(maxsize=8)
def _spline(number: int, columns: int) -> Floats:
    """Return a basis of cubic splines over so many windows, with knots even in log time."""
    time = np.log(BEGIN * number + np.arange(number) + 0.5)
    inner = np.linspace(time[0], time[-1], columns - 2)
    knots = np.concatenate([[time[0]] * 3, inner, [time[-1]] * 3])
    basis: Floats = BSpline.design_matrix(time, knots, 3).toarray()
    return basis


def _inflation(noise: Floats, leverage: float) -> float:
    """Return how many times the variance of a sum is that of as many independent terms."""
    number = len(noise)
    most = int(min(10 * np.log10(number), number / 6))
    spectrum = np.abs(np.fft.rfft(noise, 2 * number)) ** 2
    covariances = np.fft.irfft(spectrum)[: most + 1] / (noise @ noise)
    covariances = covariances[: _order(covariances, number) + 1]
    first = inflation = _spectrum_at_zero(covariances)
    for _ in range(3):
        corrected = _spectrum_at_zero(covariances + leverage * inflation)
        inflation = min(corrected, MOST_CORRECTION * first)
    return inflation


def _order(correlations: Floats, number: int) -> int:
    """Return the order of the autoregression with the least BIC, by the recursion of Levinson."""
    phi, variance = np.zeros(len(correlations)), 1.0
    least, best = 0.0, 0
    for order in range(1, len(correlations)):
        known = phi[: order - 1]
        reflection = (correlations[order] - known @ correlations[order - 1 : 0 : -1]) / variance
        phi[: order - 1] = known - reflection * known[::-1]
        phi[order - 1] = reflection
        variance *= 1 - reflection**2
        criterion = number * math.log(variance) + order * math.log(number)
        if criterion < least:
            least, best = criterion, order
    return best


def _spectrum_at_zero(covariances: Floats) -> float:
    """Return the spectrum at frequency zero of the autoregression that has these covariances.

    It is relative to the variance: 1 for white noise.
    """
    correlations = covariances[1:] / covariances[0]
    if not len(correlations):
        return 1.0
    phi = solve_toeplitz(np.append(1, correlations[:-1]), correlations)
    return float((1 - phi @ correlations) / (1 - phi.sum()) ** 2)
