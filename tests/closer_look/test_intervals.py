"""Intervals: blocks of updates, their deviations, resamples, and whether they cover the truth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from bench import coverage
from closer_look.analysis.resampling import (
    Blocks,
    interval,
    interval_of_mean,
    multipliers_of_groups,
)
from closer_look.vocabulary import COMPONENTS
from worlds import ENCODER, LAYERS, MAIN_RUNS, MT, WINDOWS, World, change, results


@given(st.integers(1, 1000), st.integers(1, 200))
def test_blocks_cover_all_windows_and_are_neither_few_nor_many(windows, size):
    updates = np.arange(1, windows + 1) * size
    blocks = Blocks(updates)
    assert blocks.edges[0] == 0 and blocks.edges[-1] == updates[-1]
    assert set(blocks.edges[1:]) <= set(updates)
    widths = np.diff(blocks.edges)
    assert (widths > 0).all() and len(set(widths[:-1])) <= 1 and widths[-1] >= widths[0]
    assert min(windows, 20) <= len(widths) <= 200
    np.testing.assert_array_equal(blocks.sums(np.full(windows, size)), widths)


@pytest.mark.parametrize(
    ("updates", "windows", "expected"),
    [(200, 200, 10), (3000, 1000, 66), (6000, 1000, 66), (125_000, 1000, 625)],
)
def test_blocks_are_at_least_three_windows_and_some_tens_of_updates(updates, windows, expected):
    """But for trainings too short to have twenty of them."""
    blocks = Blocks(np.arange(1, windows + 1) * (updates // windows))
    assert blocks.edges[1] == expected


def test_a_straight_line_does_not_deviate():
    blocks = Blocks(np.arange(1, 405))  # the last block is longer
    line = 5 - 0.01 * np.arange(404)[:, None] * [1, -2]
    sums = blocks.sums(line)
    np.testing.assert_allclose(blocks.deviations(sums)[:-2], 0, atol=1e-9)
    assert np.isnan(Blocks(np.arange(1, 3)).deviations(np.ones((2, 1)))).all()


def test_deviations_have_the_variance_of_the_sums():
    blocks = Blocks(np.arange(1, 401))
    noise = np.random.default_rng(0).standard_normal((400, 5000))
    deviations = blocks.deviations(blocks.sums(noise))
    np.testing.assert_allclose((deviations**2).mean(axis=1), 20, rtol=0.06)


def test_draws_begin_with_what_was_measured_and_vary_as_the_sum_does():
    rng = np.random.default_rng(0)
    blocks = Blocks(np.arange(1, 2001))
    series = rng.standard_normal((2000, 200)) + 1
    draws = blocks.cumulative(series, blocks.multipliers(199, rng))
    assert draws.shape == (200, 200, len(blocks.edges))
    assert (draws[..., 0] == 0).all()
    np.testing.assert_allclose(draws[0, :, -1], series.sum(axis=0))
    assert draws[1:, :, -1].std(axis=0).mean() == pytest.approx(np.sqrt(2000), rel=0.1)


def test_draws_vary_as_other_text_would_have_it():
    """Of means over eight groups of text, all windows and places of which move together."""
    rng = np.random.default_rng(0)
    blocks = Blocks(np.arange(1, 401))
    groups = 1 + 0.3 * rng.standard_normal(8)
    apart = [np.full((400, 2), value) for value in (groups - groups.mean()) / np.sqrt(8 * 7)]
    series = np.full((400, 2), groups.mean())
    numbers = multipliers_of_groups(20_000, 8, rng)
    draws = blocks.cumulative(series, blocks.multipliers(20_000, rng), apart, numbers)[1:, :, -1]
    np.testing.assert_allclose(draws[:, 0], draws[:, 1])
    low, high = np.quantile(draws[:, 0] / 400, [0.025, 0.975])
    expected = student.interval(0.95, 7, groups.mean(), groups.std(ddof=1) / np.sqrt(8))
    np.testing.assert_allclose((low, high), expected, atol=0.01)


def test_the_interval_is_that_of_the_percentiles_or_reaches_to_its_mirror_image():
    draws = np.append(0.5, np.linspace(0, 0.4, 1001))
    assert interval(draws) == pytest.approx((0.01, 0.39), abs=0.001)
    assert interval(draws, (-1, 1)) == pytest.approx((0.01, 0.99), abs=0.001)
    assert interval(draws, (0, 0.8)) == pytest.approx((0.01, 0.8), abs=0.001)
    assert interval(np.append(0.5, np.full(9, np.nan)), (0, 1)) == (0, 1)
    assert np.isnan(interval(np.append(0.5, np.full(9, np.nan)))).all()
    assert np.isnan(interval(np.append(np.nan, np.ones(9)), (0, 1))).all()
    infinite = np.append(np.inf, np.full(9, np.inf))
    assert interval(infinite) == interval(infinite, (0, np.inf)) == (np.inf, np.inf)


def test_the_interval_of_the_least_covers_it_though_it_is_biased():
    """Of eleven equal values with noise, the least is always too small."""
    rng = np.random.default_rng(0)
    covered, naive = [], []
    for _ in range(300):
        measured = rng.standard_normal(11)
        draws = np.vstack([measured, measured + rng.standard_normal((199, 11))])
        low, high = interval(draws)
        covered.append(low <= 0 <= high)
        low, high = interval(draws.min(axis=1))
        naive.append(low <= 0 <= high)
    assert np.mean(covered) > 0.93 > 0.5 > np.mean(naive)


def test_the_interval_over_seeds_covers_the_mean_and_the_least_of_means():
    rng = np.random.default_rng(0)
    for shape in ((2000, 3), (2000, 3, 4)):
        ends = [interval_of_mean(values) for values in rng.standard_normal(shape)]
        assert np.mean([low <= 0 <= high for low, high in ends]) > 0.93


def test_infinite_values_leave_the_mean_over_seeds_open_unless_all_agree():
    assert interval_of_mean(np.array([1, 2, np.inf])) == (-np.inf, np.inf)
    assert interval_of_mean(np.array([np.inf] * 3)) == (np.inf, np.inf)


def noisy(scale=0.05):
    """Return a world in which claim 5 holds, with noise between blocks and between windows."""
    world, rng = World(), np.random.default_rng(3)
    for run, model in world.runs.items():
        for name in COMPONENTS:
            model.h[name] = 1 + scale * rng.normal(size=LAYERS)
            course = 1 + 5 * scale * rng.normal(size=(LAYERS, WINDOWS))
            model.course[name] = course / course.sum(axis=1, keepdims=True)
        if run == MT:
            for name in ("value", "out"):
                model.h[name][[0, 5]] += 2
    return world


def test_the_interval_over_updates_holds_the_value_and_is_the_same_each_time():
    tables = noisy().tables()
    first, second = (results(tables, resamples=99, numbers=["5", "14", "20"]) for _ in range(2))
    assert first.equals(second)
    row = first.loc["5"]
    assert row["interval"] == "updates"
    assert row["low"] < row["value"] < row["high"]


def test_the_interval_over_updates_is_as_wide_as_the_noise():
    """A window's noise is 0.25 of its 1/100; the value is of an end, 3, and four layers of 1."""
    widths = []
    for seed in range(5):
        world, rng = noisy(), np.random.default_rng(seed)
        for name in COMPONENTS:
            course = 1 + 0.25 * rng.normal(size=(LAYERS, WINDOWS))
            world[MT].course[name] = course / course.sum(axis=1, keepdims=True)
        world[MT].h["value"][5] = 9
        text = results(world, numbers=["5"]).loc["5", "values"].split("; ")[0]
        low, high = (float(end.strip("[],")) for end in text.split()[5:7])
        widths.append(high - low)
    mean = (3 + 1 + 1 + 1 + 1 + 9) / 6
    deviation = 0.25 / np.sqrt(WINDOWS) * np.hypot(3, 1 / np.sqrt(4)) / mean
    assert 0.6 < np.mean(widths) / (2 * 2.1 * deviation) < 1.6


def test_the_course_of_training_is_hardly_taken_for_noise():
    """There is none: layers only learn at different times, which any window for any would hide."""
    world = World()
    change(MT, ["value", "out"], at=ENCODER, to=[3, 1, 1, 1, 1, 3])(world)
    decline = np.exp(-np.arange(WINDOWS) / 20)
    course = np.tile(decline / decline.sum(), (LAYERS, 1))
    course[1:5] = course[1:5, ::-1]
    for run in MAIN_RUNS:
        world[run].set(COMPONENTS, course, "course")
    row = results(world, numbers=["5"]).loc["5"]
    assert row["verdict"] == "holds"
    assert row["high"] - row["low"] < 0.05 * row["value"]


def test_intervals_cover_the_truth_nearly_as_often_as_they_promise():
    """A short version of `python -m bench.coverage`, whose numbers are in `resampling`."""
    numbers = ["1", "2", "5", "8", "13", "14", "18", "19", "26"]
    found = coverage.simulate("short", 0.1, trainings=12, resamples=99, numbers=numbers)
    assert set(found["claim"]) == set(numbers)
    assert found["covered"].mean() > 0.85
    assert found["wrong"].mean() < 0.03
    assert found["decided"].mean() > 0.3
