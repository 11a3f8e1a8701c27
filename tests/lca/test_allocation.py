"""The check that blocks add up to the whole."""

import math

import pytest
import torch
from torch import nn

from lca.allocation import add_sum, allocate, check_total
from lca.blocks import partition

MODEL = nn.Linear(3, 2)
PART = partition(MODEL)


def step():
    """Return gradients, parameters before and after, and their allocation."""
    gradients = [torch.ones(size) for size in PART.sizes]
    before = [torch.zeros(size) for size in PART.sizes]
    after = [torch.linspace(-1, 2, size) for size in PART.sizes]
    return allocate(gradients, after, PART), gradients, before, after


def test_the_sum_of_the_blocks_is_the_whole():
    check_total(*step())
    found, gradients, before, after = step()
    check_total(2 * found, gradients, before, after, scale=0.5)
    found[0, 0] += 1e-3
    with pytest.raises(RuntimeError, match="adds up to"):
        check_total(found, gradients, before, after)


def test_the_sums_alone_are_those_with_all_the_rest():
    whole, gradients, _, after = step()
    found = allocate(gradients, after, PART, add_sum)
    assert torch.equal(found[:, 0], whole[:, 0]) and not found[:, 1:].any()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("where", ["blocks", "gradient", "both"])
def test_what_is_not_finite_does_not_pass(value, where):
    found, gradients, before, after = step()
    if where != "gradient":
        found[0, 0] = value
    if where != "blocks":
        gradients[0][1] = value
    with pytest.raises(RuntimeError, match="adds up to"):
        check_total(found, gradients, before, after)
