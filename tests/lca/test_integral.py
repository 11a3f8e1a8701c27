"""The rules on losses whose integral is known."""

import pytest
import torch
from torch import nn

from lca.blocks import partition
from lca.integral import integrate


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.randn(3, 4))
        self.two = nn.Parameter(torch.randn(5))


PART = partition(Model())


def evaluation(loss):
    """Return what `integrate` evaluates, and the list of the points that it was asked for."""
    points = []

    def evaluate(values):
        values = [value.detach().clone().requires_grad_() for value in values]
        points.append(values)
        value = loss(torch.cat(values))
        value.backward()
        return value.item(), [v.grad for v in values]

    return evaluate, points


def step(scale=1.0):
    generator = torch.Generator().manual_seed(2)
    before = [torch.randn(12, generator=generator), torch.randn(5, generator=generator)]
    moved = [torch.randn(12, generator=generator), torch.randn(5, generator=generator)]
    return before, [b + scale * m for b, m in zip(before, moved, strict=True)]


@pytest.mark.parametrize("power", [1, 2, 3, 4])
def test_polynomials_up_to_the_fourth_degree_take_three_gradients(power):
    evaluate, points = evaluation(lambda theta: (theta**power).sum())
    before, after = step()
    found = integrate(evaluate, before, after, PART, (2, 32), 1e-3)
    assert len(points) == 3 and found.intervals == 2
    for cell, (a, b) in enumerate(zip(before, after, strict=True)):
        changes = (b**power - a**power).double()
        assert found.allocation[cell, 0].item() == pytest.approx(changes.sum().item(), abs=1e-4)
        positive = changes.clamp(min=0).sum().item()
        assert found.allocation[cell, 1].item() == pytest.approx(positive, abs=1e-4)
        assert found.allocation[cell, 2].item() == (changes < 0).sum()
        assert found.allocation[cell, 3].item() == (changes > 0).sum()
    assert found.after - found.before == pytest.approx(
        found.allocation[:, 0].sum().item(), abs=1e-3
    )


def test_intervals_are_halved_until_the_residual_is_small():
    evaluate, points = evaluation(lambda theta: torch.sin(4 * theta).sum())
    before, after = step()
    coarse = integrate(evaluate, before, after, PART, (2, 32), 1e9)
    assert coarse.intervals == 2 and abs(coarse.residual) > 0.1
    fine = integrate(evaluate, before, after, PART, (2, 32), 1e-2)
    assert fine.intervals > 2 and abs(fine.residual) <= 1e-2
    for cell, (a, b) in enumerate(zip(before, after, strict=True)):
        expected = (torch.sin(4 * b) - torch.sin(4 * a)).sum().item()
        assert fine.allocation[cell, 0].item() == pytest.approx(expected, abs=1e-2)
    points.clear()
    integrate(evaluate, before, after, PART, (2, 32), 1e-2)
    assert len(points) == fine.intervals + 1  # no point is evaluated twice


def test_a_residual_that_stays_is_told():
    weights = torch.arange(17)
    evaluate, _ = evaluation(lambda theta: ((theta > 0) * weights).sum() + 0 * theta.sum())
    found = integrate(evaluate, *step(3.0), PART, (2, 32), 1e-3)
    assert found.intervals == 32
    assert found.residual == pytest.approx(found.after - found.before)
    assert found.residual != 0


@pytest.mark.parametrize(("power", "intervals"), [(1, 1), (2, 1), (3, 2)])
def test_the_trapezoidal_rule_is_enough_up_to_the_second_degree(power, intervals):
    evaluate, points = evaluation(lambda theta: (theta**power).sum())
    found = integrate(evaluate, *step(), PART, (1, 8), 1e-3)
    assert found.intervals == intervals and len(points) == intervals + 1
    assert abs(found.residual) <= 1e-3


def test_a_share_of_the_larger_term_may_be_left():
    evaluate, _ = evaluation(lambda theta: torch.sin(4 * theta).sum())
    before, after = step()
    rough = integrate(evaluate, before, after, PART, (1, 1), 0)
    ends = [evaluate(values)[1] for values in (before, after)]
    moved = [b - a for a, b in zip(before, after, strict=True)]
    terms = [abs(sum(float(g @ m) for g, m in zip(end, moved, strict=True))) for end in ends]
    share = abs(rough.residual) / max(terms)
    assert integrate(evaluate, before, after, PART, (1, 8), 0, 1.01 * share).intervals == 1
    finer = integrate(evaluate, before, after, PART, (1, 8), 0, 0.99 * share)
    assert finer.intervals > 1
    assert finer.change == rough.change
