"""Series over the updates of a training, as its LCA: a known trend, and noise of known making."""

import numpy as np
from scipy.signal import lfilter

from lca.analysis.uncertainty import sum_error
from lca.analysis.windows import Windows

TRENDS = ("warmed up", "exponential")
NOISES = ("white", "AR(1), 0.5", "AR(1), 0.9", "mean of 10")
FALL = 4.0  # of the loss, in nats
BURN_IN = 400


def trend(kind: str, updates: int) -> np.ndarray:
    """Return the true change at every update; in all the loss falls by FALL."""
    update = np.arange(updates) + 0.5
    if kind == "exponential":
        rates = np.exp(-update / (0.05 * updates)) + 0.02
    else:
        warmed = np.minimum(1, update / ((0.2 if updates < 1000 else 0.064) * updates))
        rates = warmed * (update + 0.01 * updates) ** -1.6
    return -FALL * rates / rates.sum()


def noise(kind: str, updates: int, random: np.random.Generator) -> np.ndarray:
    """Return noise of mean zero that fades as the square root of time, of some variance."""
    name, _, detail = kind.replace(",", " of").partition(" of ")
    if name == "white":
        found = random.standard_normal(updates)
    elif name == "AR(1)":
        innovations = random.standard_normal(updates + BURN_IN)
        found = lfilter([1], [1, -float(detail)], innovations)[BURN_IN:]
    else:  # mean
        length = int(detail)
        innovations = random.standard_normal(updates + length - 1)
        found = np.convolve(innovations, np.full(length, 1 / length), "valid")
    return found * (np.arange(updates) + 0.02 * updates) ** -0.5


def coverage(
    updates: int, of_trend: str, of_noise: str, scatter: float, repetitions: int, seed: int = 1
) -> tuple[float, float]:
    """Return how often the interval holds the truth, and the mean error relative to the true one.

    `scatter` is the standard deviation of the sum, as a share of the loss change.
    """
    random = np.random.default_rng(seed)
    windows = Windows(updates)
    truth = trend(of_trend, updates)
    drawn = [noise(of_noise, updates, random) for _ in range(repetitions)]
    misses = np.array([row.sum() for row in drawn])
    scale = scatter * FALL / misses.std()
    errors = np.array([sum_error(windows.mean(truth + scale * row), windows.last) for row in drawn])
    held = np.abs(scale * misses) <= 1.96 * errors
    return held.mean(), np.sqrt((errors**2).mean()) / (scatter * FALL)
