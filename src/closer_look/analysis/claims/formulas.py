"""The terms that the claims' formulas are written in."""

import math

import numpy as np

from .evidence import NotApplicable


def span(depth: int, first: int, last: int, of: int = 12) -> np.ndarray:
    """Return which of `depth` layers are the layers `first` to `last` of `of` in the paper.

    In a model of another depth, those whose middle lies in the same part of the depth. Raises
    `NotApplicable` if there are none.
    """
    middle = (2 * np.arange(1, depth + 1) - 1) * of
    chosen = (2 * depth * (first - 1) < middle) & (middle <= 2 * depth * last)
    if not chosen.any():
        raise NotApplicable(f"{depth} layers are too few to tell layers {first} to {last} of {of}")
    return chosen


def between(profile: np.ndarray, first: int, last: int, of: int = 12) -> np.ndarray:
    """Return the values of the layers `first` to `last` (see `span`)."""
    return profile[span(len(profile), first, last, of)]


def require_layers(profile: np.ndarray, least: int) -> None:
    """Raise `NotApplicable` for a profile of fewer layers."""
    if len(profile) < least:
        raise NotApplicable(f"{len(profile)} layers are too few, {least} are needed")


def relative(value: float, profile: np.ndarray) -> float:
    """Return a value in units of the profile's mean magnitude; NaN if that is 0."""
    scale = np.abs(profile).mean()
    return value / scale if scale else math.nan


def margin(upper: np.ndarray | float, lower: np.ndarray | float, profile: np.ndarray) -> float:
    """Return by how much the mean of `upper` exceeds that of `lower`, see `relative`."""
    return relative(np.mean(upper) - np.mean(lower), profile)


def peak(profile: np.ndarray, layer: int) -> float:
    """Return by how much a layer (an index) exceeds all others, see `relative`."""
    require_layers(profile, 2)
    return relative(profile[layer] - np.delete(profile, layer).max(), profile)


def slope(profile: np.ndarray) -> float:
    """Return the slope per layer of a straight line through the profile, see `relative`."""
    return relative(np.polyfit(np.arange(len(profile)), profile, 1)[0], profile)


def ratio(a: float, b: float) -> float:
    """Return a / b; what is not positive is exceeded by any positive `a`, and exceeds nothing."""
    if b > 0:
        return a / b
    return math.nan if math.isnan(a + b) else math.copysign(math.inf, a or -1)
