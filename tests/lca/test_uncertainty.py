"""Intervals hold the truth as often as they promise; `bench/intervals.py` measures it at length."""

import numpy as np
import pytest

from lca.analysis.uncertainty import (
    FEWEST,
    FEWEST_BATCHES,
    cumulative_errors,
    mean_error,
    percent,
    ratio_error,
    sum_error,
)
from lca.analysis.windows import Windows
from series import coverage, noise, trend

REPETITIONS = 150
LEAST = 0.95 - 3 * (0.95 * 0.05 / REPETITIONS) ** 0.5  # 3 standard deviations of the share below


@pytest.mark.parametrize(
    ("updates", "of_trend"), [(200, "warmed up"), (200, "exponential"), (3000, "warmed up")]
)
@pytest.mark.parametrize("of_noise", ["white", "AR(1), 0.5", "mean of 10"])
def test_intervals_hold_the_truth(updates, of_trend, of_noise):
    held, ratio = coverage(updates, of_trend, of_noise, 0.03, REPETITIONS)
    assert held >= LEAST
    assert ratio < 2.5


def test_noise_as_slow_as_momentum_is_regarded():
    held, ratio = coverage(3000, "warmed up", "AR(1), 0.9", 0.03, REPETITIONS)
    assert held >= LEAST and 0.8 < ratio < 1.3


def test_the_error_of_a_part_is_that_of_the_part_alone():
    random, windows = np.random.default_rng(1), Windows(3000)
    rows = [trend("warmed up", 3000) + 0.01 * noise("white", 3000, random) for _ in range(40)]
    found = np.mean([cumulative_errors(windows.mean(row), windows.last)[499] for row in rows])
    assert found == pytest.approx(np.std([row[:1500].sum() for row in rows]), rel=0.35)


def test_a_series_without_noise_has_no_error():
    assert sum_error(np.full(100, -2.5), np.arange(1, 101)) == 0


@pytest.mark.parametrize("windows", [FEWEST - 1, FEWEST])
def test_of_few_windows_the_error_is_unknown(windows):
    means = np.random.default_rng(1).standard_normal(windows)
    assert np.isnan(sum_error(means, np.arange(1, windows + 1))) == (windows < FEWEST)
    assert np.isnan(sum_error(np.where(means > 0, np.nan, 1), np.arange(1, windows + 1)))


def test_the_error_of_the_first_windows_is_unknown():
    """The trend goes through the first ones almost whatever they are."""
    found = cumulative_errors(np.random.default_rng(1).standard_normal(100), np.arange(1, 101))
    assert np.isnan(found[: FEWEST - 1]).all() and np.isfinite(found[FEWEST - 1 :]).all()


@pytest.mark.parametrize("number", [FEWEST_BATCHES, 40])
def test_the_error_of_a_loss_is_that_of_a_ratio(number):
    """Batches that differ in size, whose losses depend on it."""
    random = np.random.default_rng(1)
    held = []
    for _ in range(1000):
        tokens = random.integers(100, 300, number)
        values = 0.001 * tokens + random.normal(0, 20, number) / tokens
        truth = 0.001 * (200 + 200**2 / 12 / 200)  # E[tokens^2] / E[tokens]
        mean = (values * tokens).sum() / tokens.sum()
        held.append(abs(mean - truth) <= 1.96 * mean_error(values, tokens))
    assert 0.92 < np.mean(held) < 0.97
    assert np.isnan(mean_error(np.arange(FEWEST_BATCHES - 1.0), np.ones(FEWEST_BATCHES - 1)))


def test_the_error_of_a_ratio_is_that_of_its_parts():
    random = np.random.default_rng(1)
    ratios = random.normal(-4, 0.1, 100_000) / random.normal(-2, 0.05, 100_000)
    assert ratio_error(-4, -2, 0.1, 0.05) == pytest.approx(ratios.std(), rel=0.02)


@pytest.mark.parametrize(
    ("ratio", "error", "text"),
    [
        (0.98813, 0.0271, "98.8 ± 2.7 %"),
        (4.5, 0.213, "450 ± 21 %"),
        (-0.051, 0.02, "−5.1 ± 2.0 %"),
        (1.0, np.nan, "100 %"),
    ],
)
def test_a_share_is_written_with_its_error(ratio, error, text):
    assert percent(ratio, error) == text
