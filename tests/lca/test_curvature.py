"""Which updates stand for which, and the curvature against its definition."""

import copy
from itertools import islice, pairwise

import numpy as np
import pytest
import torch

import toys
from lca.allocation import per_block
from lca.blocks import partition
from lca.curvature import Schedule, curvature, strata


@pytest.mark.parametrize("total", [1, 7, 200, 5000])
@pytest.mark.parametrize("longest", [1, 8, 64])
def test_strata_divide_the_updates(longest, total):
    found = list(strata(3, longest, total))
    assert found[0].first == 1
    for one, other in pairwise(found):
        assert other.first == one.first + one.updates
    assert found[-1].first + found[-1].updates - 1 == total
    for stratum in found:
        assert 1 <= stratum.updates <= longest
        assert 0 <= stratum.measured - stratum.first < stratum.updates


def test_strata_are_short_in_the_beginning_and_then_grow():
    lengths = [stratum.updates for stratum in strata(1, 8, 1000)]
    assert lengths[:16] == [1] * 16
    assert lengths[:-1] == sorted(lengths[:-1]) and lengths[-2] == 8


def test_without_a_total_they_never_end():
    many = list(islice(strata(1, 64), 1000))
    assert many[:500] == list(strata(1, 64, 10**6))[:500]
    assert many[-1].updates == 64


def test_each_update_of_a_stratum_has_the_same_chance():
    chosen = [list(strata(seed, 4, 60))[-2] for seed in range(400)]
    assert {(stratum.first, stratum.updates) for stratum in chosen} == {(55, 4)}
    counts = np.bincount([stratum.measured - stratum.first for stratum in chosen], minlength=4)
    assert len(counts) == 4 and counts.min() > 70  # of 100 on average, with deviation 9


def test_the_schedule_does_not_depend_on_where_it_is_resumed():
    expected = {s.measured: s.updates for s in strata(5, 8, 300)}
    for begin in (1, 2, 17, 150, 299):
        schedule = Schedule(5, 8, 300)
        found = {update: schedule.updates(update) for update in range(begin, 310)}
        assert found == {update: expected.get(update, 0) for update in found}
    schedule = Schedule(5, 8, 300)  # fairseq tries a step again after an overflow
    assert [schedule.updates(1) for _ in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("objective", toys.OBJECTIVES)
def test_curvature_is_that_of_plain_autograd(objective):
    """In double precision, block by block."""
    before, after = toys.model(objective), toys.model(objective)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in after.parameters():
            parameter += 0.01 * torch.randn(parameter.shape, generator=generator)
    found = of_models(objective, before, after)
    part = partition(before)
    terms = exact_terms(objective, before, after)
    expected = torch.zeros(len(part.blocks), dtype=torch.float64)
    for piece in part.slices:
        span = slice(piece.start, piece.start + piece.numel)
        expected[part.owners[piece.cell]] += terms[piece.parameter][span].sum()
    size = sum(term.abs().sum() for term in terms)
    torch.testing.assert_close(
        per_block(found, part)[:, 0], expected, rtol=1e-4, atol=1e-6 * size.item()
    )
    assert expected.abs().sum() > 1e-3


def of_models(objective, before, after):
    """Return the curvature between two models."""
    model = copy.deepcopy(before)

    def gradients(values):
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), values, strict=True):
                parameter.copy_(value.view_as(parameter))
        model.zero_grad()
        toys.loss(objective, model, seed=7).backward()
        return [p.grad.reshape(-1) for p in model.parameters()]

    ends = [[p.detach().reshape(-1) for p in m.parameters()] for m in (before, after)]
    return curvature(gradients, *ends, partition(before))


def exact_terms(objective, before, after):
    """Return the terms (g(after) - g(before)) * (after - before), flat, in double precision."""
    ends, slopes = [], []
    for model in (before.double(), after.double()):
        toys.loss(objective, model, seed=7).backward()
        ends.append([p.detach().reshape(-1) for p in model.parameters()])
        slopes.append([p.grad.reshape(-1) for p in model.parameters()])
    return [(h - g) * (b - a) for a, b, g, h in zip(*ends, *slopes, strict=True)]
