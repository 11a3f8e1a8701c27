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
