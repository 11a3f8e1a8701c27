"""The estimators where the truth is known: on a quadratic, with and without noise."""

import pytest
import torch
from torch import nn

from lca.optimizers import SGD, FairseqAdam

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


def train(seed, noise, rule=adam):
    """Return the true changes and each estimator's values of all updates: `(updates,)` each."""
    generator = torch.Generator().manual_seed(seed)
    model = Model()
    optimizer = rule(model.parameters())
    optimizer.attach(model)
    changes, found = [], {"own_batch": [], "cross_batch": [], "next_batch": []}
    for _ in range(UPDATES + 1):
        before = loss(model.theta.detach())
        model.theta.grad = torch.zeros(SIZE)
        for half in range(2):
            gradient = CURVATURE * model.theta.detach()
            gradient += noise * torch.randn(SIZE, generator=generator)
            model.theta.grad += gradient / 2
            if half == 0:
                optimizer.keep_part([model.theta.grad])
        optimizer.step()
        changes.append(loss(model.theta.detach()) - before)
        for name, values in found.items():
            values.append(optimizer.allocations[name][:, 0].sum().item())
    found["next_batch"] = found["next_batch"][1:]  # of the update before
    found = {name: torch.tensor(values[:UPDATES]) for name, values in found.items()}
    found["trapezoid"] = (found["cross_batch"] + found["next_batch"]) / 2
    return torch.tensor(changes[:UPDATES]), found


def test_without_noise_the_trapezoid_is_exact_at_every_update():
    changes, found = train(seed=1, noise=0.0)
    torch.testing.assert_close(found["trapezoid"], changes, rtol=1e-4, atol=1e-5)
    # To first order alone, what the curvature takes back is overlooked at one end, doubled at the
    # other.
    assert (found["own_batch"] < changes).all() and (changes < found["next_batch"]).all()
    assert changes.sum() - found["own_batch"].sum() > 0.04 * -changes.sum()


def test_with_noise_the_trapezoid_is_right_on_average_and_own_batch_is_not():
    errors = {"own_batch": [], "next_batch": [], "trapezoid": []}
    for seed in range(30):
        changes, found = train(seed, noise=3.0)
        for name, of_seeds in errors.items():
            of_seeds.append((found[name].sum() - changes.sum()).item() / -changes.sum().item())
    means = {name: sum(of_seeds) / len(of_seeds) for name, of_seeds in errors.items()}
    assert abs(means["trapezoid"]) < 0.03
    assert means["own_batch"] < -0.5
    assert abs(means["next_batch"]) > 2 * abs(means["trapezoid"])


@pytest.mark.parametrize("noise", [0.0, 3.0])
def test_the_halves_are_interchangeable(noise):
    """With equal halves, which one is kept does not matter."""
    generator = torch.Generator().manual_seed(3)
    halves = [torch.randn(SIZE, generator=generator) * noise + 1 for _ in range(2)]
    found = []
    for first, second in (halves, halves[::-1]):
        model = Model()
        optimizer = FairseqAdam(model.parameters(), lr=0.05)
        optimizer.attach(model)
        optimizer.keep_part([first / 2])
        model.theta.grad = (first + second) / 2
        optimizer.step()
        found.append(optimizer.allocations["cross_batch"])
    torch.testing.assert_close(*found)


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
        "cross_batch": own,
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
    runs = [train(seed, noise, sgd(momentum))[1] for seed in range(seeds)]
    apart = torch.stack([found["own_batch"] - found["cross_batch"] for found in runs])
    bias = -LR * SIZE * noise**2 / 2  # the batch's two halves have independent noise
    error = apart.mean(dim=1).std() / seeds**0.5
    assert apart.mean() == pytest.approx(bias, abs=4 * error.item())
    assert error < 0.05 * -bias
