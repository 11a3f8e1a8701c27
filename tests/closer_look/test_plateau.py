"""A short version of bench/plateau.py: the trapezoid adds up, through fairseq, and is unbiased."""

import math

import pytest

from bench import plateau

pytestmark = pytest.mark.slow

UPDATES = 240


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return plateau.write_text(tmp_path_factory.mktemp("text"), 4000)


def test_sums_over_a_training_are_the_change_of_the_loss(text, tmp_path):
    training = plateau.Training(text, tmp_path, "clm", "adam", dropout=0.1, every=4, tokens=64)
    ((length, true, sums),) = plateau.plateau(training, [UPDATES])
    assert length == UPDATES and true.value < -1 and true.error < 0.05
    found = sums["trapezoid"]
    assert abs(found.value - true.value) < 4 * math.hypot(found.error, true.error)
    assert found.error < 0.15 * -true.value
    assert sums["own_batch"].value < 3 * true.value


@pytest.mark.parametrize("rule", plateau.RATES)
def test_small_batches_find_the_curvature_of_the_whole_text(text, tmp_path, rule):
    training = plateau.Training(text, tmp_path, "clm", rule, dropout=0.0, every=4, tokens=64)
    (steps,) = plateau.frozen(training, [15], steps=2, repeats=40)
    start, apart = plateau.bias(steps)
    assert start < 0
    assert abs(apart.value) < 4 * apart.error and apart.error < 25  # percent
