"""A short version of bench/plateau.py: the trapezoid adds up, through fairseq, and is unbiased."""

import math

import pytest

from bench import plateau

pytestmark = pytest.mark.slow

UPDATES = 160


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return plateau.write_text(tmp_path_factory.mktemp("text"), 500)


def trained(text, folder, objective="clm", rule="adam"):
    return plateau.Training(
        text, folder, objective, rule, dropout=0.1, every=16, tokens=4096, updates=UPDATES
    )


@pytest.mark.parametrize("objective", plateau.LAYERS)
def test_sums_over_a_training_are_the_change_of_the_loss(text, tmp_path, objective):
    """Of a text that is read several times."""
    training = trained(text, tmp_path, objective)
    ((length, true, sums),) = plateau.plateau(training, [UPDATES])
    assert length == UPDATES and true.value < -0.5 and true.error < 0.05
    found = sums["trapezoid"]
    assert abs(found.value - true.value) < 4 * math.hypot(found.error, true.error)
    assert found.error < 0.1 * -true.value
    assert sums["own_batch"].value < 2 * true.value


@pytest.mark.parametrize("rule", plateau.RATES)
def test_strides_on_the_whole_text_are_the_change_of_its_loss(text, tmp_path, rule):
    training = trained(text, tmp_path, rule=rule)
    (strides,) = plateau.frozen(training, [15], strides=2, every=8)
    start, off = plateau.bias(strides)
    assert start < 0
    assert abs(off.value) < 1  # percent


def test_strides_allocate_to_each_block_nearly_what_single_updates_do(text, tmp_path):
    training = trained(text, tmp_path)
    single, by_stride = plateau.both_ways(training, 40, every=8)
    share, worst = plateau.misplaced(single, by_stride, list(map(str, range(len(single)))))
    assert single.sum() < -0.5
    assert 0 < float(share.removesuffix(" %")) < 1
    assert float(plateau.misplaced(single, single[::-1], list(map(str, single)))[0][:-2]) > 10
