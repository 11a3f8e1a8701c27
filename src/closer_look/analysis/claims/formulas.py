"""The terms that the claims' formulas are written in.

Arrays are (draw, layer), unless it is said, and so is every result (draw,): see `evidence`.
"""

import numpy as np
from scipy.stats import rankdata

from ..arrays import Booleans, Floats
from .evidence import NotApplicable


def span(depth: int, first: int, last: int, of: int = 12) -> Booleans:
    """Return which of `depth` layers are the layers `first` to `last` of `of` in the paper.

    In a model of another depth, those whose middle lies in the same part of the depth. Raises
    `NotApplicable` if there are none.
    """
    middle = (2 * np.arange(1, depth + 1) - 1) * of
    chosen = (2 * depth * (first - 1) < middle) & (middle <= 2 * depth * last)
    if not chosen.any():
        raise NotApplicable(f"{depth} layers are too few to tell layers {first} to {last} of {of}")
    return chosen


def between(profile: Floats, first: int, last: int) -> Floats:
    """Return the values of the layers `first` to `last` (see `span`)."""
    return profile[:, span(profile.shape[1], first, last)]


def require_layers(profile: Floats, least: int) -> None:
    """Raise `NotApplicable` for a profile of fewer layers, the last axis."""
    if profile.shape[-1] < least:
        raise NotApplicable(f"{profile.shape[-1]} layers are too few, {least} are needed")


def relative(values: Floats, profile: Floats) -> Floats:
    """Return values (draw, ...) in units of the profile's mean magnitude; NaN if that is 0."""
    scale = np.abs(profile).mean(axis=1).reshape(-1, *[1] * (values.ndim - 1))
    scaled: Floats = np.divide(values, scale, where=scale > 0, out=np.full(values.shape, np.nan))
    return scaled


def margin(upper: Floats, lower: Floats, profile: Floats) -> Floats:
    """Return by how much the mean of `upper` exceeds that of `lower`, see `relative`."""
    return relative(upper.mean(axis=1) - lower.mean(axis=1), profile)


def over_each(profile: Floats, layer: int) -> Floats:
    """Return by how much a layer exceeds each other, (draw, other layer), see `relative`."""
    require_layers(profile, 2)
    return relative(profile[:, [layer]] - np.delete(profile, layer, axis=1), profile)


def slope(profile: Floats) -> Floats:
    """Return the slope per layer of a straight line through the profile."""
    slopes: Floats = np.polyfit(np.arange(profile.shape[1]), profile.T, 1)[0]
    return slopes


def bend(profile: Floats) -> Floats:
    """Return the quadratic coefficient of a parabola through the profile."""
    bends: Floats = np.polyfit(np.arange(profile.shape[1]), profile.T, 2)[0]
    return bends


def r_squared(profile: Floats) -> Floats:
    """Return the share of the layers' variance that a straight line explains, but for noise.

    The noise, which no line explains, is that of the resamples; they have it twice themselves. What
    was measured has a value even if there is no variance beyond noise, resamples are NaN.
    """
    layers = profile.shape[1]
    noise = profile[1:].var(axis=0).mean() if len(profile) > 1 else 0
    noise = noise * np.where(np.arange(len(profile)), 2, 1)
    line = np.polyfit(np.arange(layers), profile.T, 1)
    rest = profile.T - line[0] * np.arange(layers)[:, None] - line[1]
    whole = layers * profile.var(axis=1)
    if whole[0] <= (layers - 1) * noise[0]:
        noise[0] = 0
    unexplained = (rest**2).sum(axis=0) - (layers - 2) * noise
    whole = whole - (layers - 1) * noise
    return np.where(whole > 0, 1 - unexplained.clip(min=0) / whole, np.nan).clip(min=0)


def rank_correlation(profile: Floats) -> Floats:
    """Return Spearman's correlation with the number of the layer; layers that are NaN are left out.

    NaN with fewer than three.
    """
    known = ~np.isnan(profile)
    layers = np.where(known, np.arange(profile.shape[1]), np.nan)
    ranks = [rankdata(each, axis=1, nan_policy="omit") for each in (layers, profile)]
    a, b = (each - np.nanmean(each, axis=1, keepdims=True) for each in ranks)
    r = np.nansum(a * b, axis=1) / np.sqrt(np.nansum(a**2, axis=1) * np.nansum(b**2, axis=1))
    return np.where(known.sum(axis=1) > 2, r, np.nan)


def correlations(values: Floats) -> Floats:
    """Return Pearson's correlations over the last axis: (draw, n, k) to (draw, n, n)."""
    centred = values - values.mean(axis=-1, keepdims=True)
    unit = centred / np.linalg.norm(centred, axis=-1, keepdims=True)
    r: Floats = unit @ unit.swapaxes(1, 2)
    return r


def ratio(a: Floats, b: Floats) -> Floats:
    """Return a / b; what is not positive is exceeded by any positive `a`, and exceeds nothing."""
    beyond = np.where(np.isnan(a + b), np.nan, np.where(a > 0, np.inf, -np.inf))
    return np.where(b > 0, a / b, beyond)
