"""Where strides end, and what they are allocated, against plain autograd."""

import copy
from itertools import pairwise

import numpy as np
import pytest
import torch

import toys
from lca.allocation import per_block
from lca.blocks import partition
from lca.trapezoid import Strides, trapezoid


def ends(longest, total, updates):
    strides = Strides(longest, total)
    return [update for update in range(1, updates + 1) if strides.end_at(update)]


@pytest.mark.parametrize("total", [1, 7, 200, 5000])
@pytest.mark.parametrize("longest", [1, 8, 64])
def test_strides_divide_the_updates(longest, total):
    found = ends(longest, total, total)
    assert found[-1] == total
    lengths = np.diff(found, prepend=0)
    assert lengths.max() <= longest and lengths[:8].max() == 1
    assert (np.diff(lengths[:-1]) >= 0).all()
    if total == 5000:
        assert lengths[-2] == longest


def test_without_a_total_they_never_end():
    assert ends(64, None, 5000) == ends(64, 10**6, 5000)
    assert {b - a for a, b in pairwise(ends(64, None, 5000)[-20:])} == {64}


def test_strides_do_not_depend_on_where_they_are_asked():
    expected = set(ends(8, 300, 300))
    for begin in (1, 2, 17, 150, 299):
        strides = Strides(8, 300)
        found = {update for update in range(begin, 310) if strides.end_at(update)}
        assert found == {update for update in expected if update >= begin}
    strides = Strides(8, 300)  # fairseq tries a step again after an overflow
    assert [strides.end_at(1) for _ in range(3)] == [True] * 3


def moved(objective, size):
    """Return two models, one moved by random steps of such a size."""
    before, after = toys.model(objective), toys.model(objective)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in after.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return before, after


def of_models(objective, before, after, groups=1):
    """Return the trapezoid between two models, and how many gradients it took."""
    model, calls = copy.deepcopy(before), []

    def evaluate(group, values):
        calls.append(group)
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), values, strict=True):
                parameter.copy_(value.view_as(parameter))
        model.zero_grad()
        loss = toys.loss(objective, model, seed=7 + group)
        loss.backward()
        return loss.item(), [p.grad.reshape(-1).clone() for p in model.parameters()]

    values = [[p.detach().reshape(-1) for p in m.parameters()] for m in (before, after)]
    return trapezoid(evaluate, groups, *values, partition(before)), calls


def exact(objective, model, seed):
    """Return loss and gradients in double precision."""
    model = copy.deepcopy(model).double()
    loss = toys.loss(objective, model, seed)
    loss.backward()
    return loss.item(), [p.grad.reshape(-1) for p in model.parameters()]


@pytest.mark.parametrize("objective", toys.OBJECTIVES)
@pytest.mark.parametrize("is_refined", [False, True])
def test_a_stride_is_that_of_plain_autograd(objective, is_refined, monkeypatch):
    """In double precision, by block and group of text: the trapezoidal rule, or Simpson's."""
    monkeypatch.setattr("lca.trapezoid.LEAST", 0.0 if is_refined else 1.0)
    monkeypatch.setattr("lca.trapezoid.TOLERANCE", 0.0)
    monkeypatch.setattr("lca.trapezoid.MOST_INTERVALS", 2)
    before, after = moved(objective, 0.01)
    part = partition(before)
    found, calls = of_models(objective, before, after, groups=2)
    assert len(calls) == (6 if is_refined else 4)
    middle = copy.deepcopy(before)
    with torch.no_grad():
        for inner, end in zip(middle.parameters(), after.parameters(), strict=True):
            inner += (end - inner) / 2
    for group, rise in enumerate(found):
        (loss, start), (_, inner), (last, end) = (
            exact(objective, model, 7 + group) for model in (before, middle, after)
        )
        assert rise.change == pytest.approx(last - loss, abs=1e-6)
        weights = (1 / 6, 4 / 6, 1 / 6) if is_refined else (1 / 2, 0, 1 / 2)
        expected, size = torch.zeros(len(part.blocks), dtype=torch.float64), 0
        pairs = zip(before.parameters(), after.parameters(), strict=True)
        steps = [(b.double() - a.double()).detach().reshape(-1) for a, b in pairs]
        terms = [
            sum(w * g for w, g in zip(weights, gradients, strict=True)) * step
            for *gradients, step in zip(start, inner, end, steps, strict=True)
        ]
        for piece in part.slices:
            of_piece = terms[piece.parameter][piece.start : piece.start + piece.numel]
            expected[part.owners[piece.cell]] += of_piece.sum()
            size += of_piece.abs().sum().item()
        torch.testing.assert_close(
            per_block(rise.allocation, part)[:, 0], expected, rtol=1e-4, atol=1e-6 * size
        )


def test_where_the_rule_is_off_it_is_refined():
    """Until it accounts for what was measured; a stride this long is worse than any in training."""
    near, calls = of_models("clm", *moved("clm", 1e-4))
    assert len(calls) == 2 and near[0].intervals == 1
    far, calls = of_models("clm", *moved("clm", 0.05))
    assert len(calls) == far[0].intervals + 1 > 2
    further, _ = of_models("clm", *moved("clm", 0.15))
    assert further[0].intervals > far[0].intervals
    for (rise,) in (near, far, further):
        total = rise.allocation[:, 0].sum().item()
        assert total == pytest.approx(rise.change, rel=0.02, abs=1e-5)
