"""The estimators where the truth is known: on a quadratic, with and without noise."""

import pytest
import torch
from torch import nn

from lca.blocks import partition
from lca.optimizers import SGD, FairseqAdam
from lca.trapezoid import Strides, trapezoid

SIZE, UPDATES = 40, 60
CURVATURE = torch.logspace(-1, 1, SIZE)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.ones(SIZE))


def loss(theta):
    """Return the true loss: the mean over all batches."""
    return 0.5 * (CURVATURE * theta.double() ** 2).sum().item()


def adam(params):
    return FairseqAdam(params, lr=0.05, betas=(0.9, 0.98))


def train(seed, noise, rule=adam, every=1):
    """Return the true changes and each estimator's values of all updates: `(updates,)` each.

    `noise` is that of the gradient of a batch. The trapezoid is on the mean of all batches, in
    strides of `every` updates in the end.
    """
    generator = torch.Generator().manual_seed(seed)
    model = Model()
    part = partition(model)
    optimizer = rule(model.parameters())
    optimizer.attach(model)
    changes, found, strides = (
        [],
        {"own_batch": [], "next_batch": [], "end": []},
        Strides(every, UPDATES),
    )
    found["trapezoid"] = torch.zeros(UPDATES)
    start, begin = 0, [model.theta.detach().clone()]

    def evaluate(_, values):
        return loss(values[0]), [CURVATURE * values[0]]

    for update in range(1, UPDATES + 2):
        before = model.theta.detach().clone()
        batch = noise * torch.randn(SIZE, generator=generator)
        model.theta.grad = CURVATURE * before + batch
        optimizer.step()
        after = model.theta.detach()
        changes.append(loss(after) - loss(before))
        found["end"].append((CURVATURE * after * (after - before)).sum().item())
        for name in ("own_batch", "next_batch"):
            found[name].append(optimizer.allocations[name][:, 0].sum().item())
        if strides.end_at(update):
            (rise,) = trapezoid(evaluate, 1, begin, [after.clone()], part)
            found["trapezoid"][start:update] = rise.allocation[:, 0].sum() / (update - start)
            start, begin = update, [after.clone()]
    found["next_batch"] = found["next_batch"][1:]  # of the update before
    found = {name: torch.as_tensor(values[:UPDATES]) for name, values in found.items()}
    return torch.tensor(changes[:UPDATES]), found


def test_without_noise_the_trapezoid_is_exact_at_every_update():
    changes, found = train(seed=1, noise=0.0)
    torch.testing.assert_close(found["trapezoid"], changes, rtol=1e-4, atol=1e-5)
    # To first order alone, what the curvature takes back is overlooked at one end, doubled at the
    # other.
    assert (found["own_batch"] < changes).all() and (changes < found["next_batch"]).all()
    assert changes.sum() - found["own_batch"].sum() > 0.04 * -changes.sum()


@pytest.mark.parametrize("every", [1, 4])
def test_with_noise_the_trapezoid_is_right_and_the_batches_are_not(every):
    errors = {"own_batch": [], "next_batch": [], "trapezoid": []}
    for seed in range(40):
        changes, found = train(seed, noise=3.0, every=every)
        for name, of_seeds in errors.items():
            of_seeds.append((found[name].sum() - changes.sum()).item() / -changes.sum().item())
    means = {name: sum(of_seeds) / len(of_seeds) for name, of_seeds in errors.items()}
    assert max(map(abs, errors["trapezoid"])) < 1e-4  # of a quadratic, exact in every training
    # At the start of the step the batch that made it is too good; at its end the slope is that of
    # the end alone.
    assert means["own_batch"] < -0.5 and means["next_batch"] > 0.03


def sgd(momentum):
    return lambda params: SGD(params, LR, momentum)


LR = 0.05


def test_sgd_on_a_quadratic_is_the_closed_form():
    """Of gradient descent theta_t = (1 - lr c)^t; each term is a function of it."""
    changes, found = train(seed=1, noise=0.0, rule=sgd(momentum=0.0))
    c, update = CURVATURE.double(), torch.arange(UPDATES)[:, None]
    squares = c**2 * (1 - LR * c) ** (2 * update)  # of the gradient
    own = -LR * squares
    expected = {
        "own_batch": own,
        "next_batch": own * (1 - LR * c),
        "trapezoid": own * (1 - LR * c / 2),
    }
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values.sum(dim=1).float(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        changes, expected["trapezoid"].sum(dim=1).float(), rtol=1e-4, atol=1e-6
    )


def test_momentum_on_a_quadratic_is_the_closed_form():
    """Parameter and momentum (theta, m) follow a linear map, of which the t-th power is taken."""
    momentum = 0.9
    changes, found = train(seed=1, noise=0.0, rule=sgd(momentum))
    c = CURVATURE.double()
    m_row = torch.stack([c, torch.full_like(c, momentum)], dim=1)
    theta_row = torch.tensor([1.0, 0.0]) - LR * m_row
    step = torch.stack([theta_row, m_row], dim=1)
    powers = torch.stack([torch.linalg.matrix_power(step, t) for t in range(UPDATES + 1)])
    theta, m = powers[..., 0].unbind(dim=-1)  # from theta = 1 and m = 0
    moved = -LR * m[1:]
    own, following = c * theta[:-1] * moved, c * theta[1:] * moved
    expected = {"own_batch": own, "next_batch": following, "trapezoid": (own + following) / 2}
    for name, values in expected.items():
        torch.testing.assert_close(found[name], values.sum(dim=1).float(), rtol=1e-4, atol=1e-5)
    exact = expected["trapezoid"].sum(dim=1).float()
    torch.testing.assert_close(changes, exact, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_bias_of_own_batch_with_sgd_is_the_variance_that_it_steps_along(momentum):
    """A step along -lr g makes the sum of g * dtheta too low by lr times the variance of g."""
    noise, seeds = 3.0, 60
    apart = []
    for seed in range(seeds):
        changes, found = train(seed, noise, sgd(momentum))
        # Less what the start of the step overlooks, as the mean of all batches has it.
        apart.append(found["own_batch"] - (2 * found["trapezoid"] - found["end"]))
    apart = torch.stack(apart)
    bias = -LR * SIZE * noise**2
    error = apart.mean(dim=1).std() / seeds**0.5
    assert apart.mean() == pytest.approx(bias, abs=4 * error.item())
    assert error < 0.05 * -bias
