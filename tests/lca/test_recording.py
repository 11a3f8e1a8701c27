"""Logs of trainings that know nothing of them."""

import copy
import random

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss
from torch.utils.checkpoint import checkpoint

import lca
from lca import verify
from lca.analysis import logs
from lca.recorder import LogError

UPDATES = 60


def loss_of(model, batch):
    return mse_loss(model(batch[0]), batch[1])


def batch(number):
    generator = torch.Generator().manual_seed(number)
    inputs = torch.randn(64, 8, generator=generator)
    return inputs, torch.sin(2 * inputs[:, :1]) + inputs[:, 1:2]


SAMPLE = [batch(-1 - number) for number in range(24)]


def made(optimizer=lca.AdamW):
    """With what a measurement could disturb: dropout, and statistics of the batches."""
    torch.manual_seed(0)
    layers = nn.Linear(8, 32), nn.BatchNorm1d(32), nn.Tanh(), nn.Dropout(0.1), nn.Linear(32, 1)
    model = nn.Sequential(*layers)
    return model, optimizer(model.parameters(), lr=1e-2)


def train(model, optimizer, updates, most=1.0):
    for number in updates:
        torch.manual_seed(number)  # of dropout
        optimizer.zero_grad()
        loss_of(model, batch(number)).backward()
        nn.utils.clip_grad_norm_(model.parameters(), most)
        optimizer.step()


def recorded(folder, *args, **kwargs):
    model, optimizer = made()
    with lca.record(model, optimizer, folder, *args, **kwargs) as recording:
        train(model, optimizer, range(UPDATES))
    return model, recording.log


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    settings = dict(trapezoid_every=4, loss_every=20, updates=UPDATES)
    return recorded(tmp_path_factory.mktemp("log"), loss_of, SAMPLE, **settings)


def test_measuring_leaves_the_training_as_it_is(log):
    measured, _ = log
    model, optimizer = made()
    optimizer.attach(model)
    train(model, optimizer, range(UPDATES))
    for name, value in model.state_dict().items():
        assert torch.equal(measured.state_dict()[name], value), name


def test_the_log_is_whole_and_adds_up(log):
    found = lca.read(log[1])
    assert verify.verify(log[1]) == UPDATES - 1
    assert found.completeness["update"].max() == UPDATES - 1
    sums = found.adds_up.set_index("estimator")
    assert sums.loc["trapezoid", "change"] < -0.2
    row = sums.loc["trapezoid"]
    assert abs(row["gap"]) < 3 * row["gap_se"]
    assert sums.loc["own_batch", "gap"] > row["gap"]  # it overstates


def clip_in_one(parameters, most):
    return nn.utils.clip_grad_norm_(parameters, most)


def clip_in_two(parameters, most, clip=nn.utils.clip_grads_with_norm_):
    parameters = list(parameters)
    norm = nn.utils.get_total_norm([p.grad for p in parameters])
    clip(parameters, most, norm)
    return norm


@pytest.mark.parametrize("clip", [clip_in_one, clip_in_two])
def test_clipping_is_undone_by_whatever_name_it_was_imported(log, tmp_path, clip):
    """Against the dot products of unclipped gradients and what the clipped ones did."""
    model, optimizer = made()
    expected = []
    with lca.record(model, optimizer, tmp_path) as recording:
        for number in range(4):
            optimizer.zero_grad()
            (10 * loss_of(model, batch(number))).backward()
            gradients = [p.grad.clone() for p in model.parameters()]
            before = [p.detach().clone() for p in model.parameters()]
            norm = clip(model.parameters(), 0.5)
            clip(model.parameters(), float("inf"))  # as to learn the norm
            assert norm > 0.5
            optimizer.step()
            pairs = zip(gradients, model.parameters(), before, strict=True)
            expected.append(sum((g * (p.detach() - b)).sum().item() for g, p, b in pairs))
    found = logs.series(recording.log, "own_batch", "sum").sum(axis="columns")
    assert found.tolist() == pytest.approx(expected[:3], rel=1e-3)


def test_gradients_of_others_may_be_clipped_along(tmp_path):
    model, optimizer = made()
    other = torch.ones(3, requires_grad=True)
    with lca.record(model, optimizer, tmp_path) as recording:
        for number in range(4):
            optimizer.zero_grad()
            other.grad = None
            (loss_of(model, batch(number)) + 1e4 * other.sum()).backward()
            whole = [p.grad.clone() for p in model.parameters()]
            before = [p.detach().clone() for p in model.parameters()]
            nn.utils.clip_grad_norm_([*model.parameters(), other], 0.5)
            optimizer.step()
            pairs = zip(whole, model.parameters(), before, strict=True)
            expected = sum((g * (p.detach() - b)).sum().item() for g, p, b in pairs)
            found = optimizer.allocations["own_batch"][:, 0].sum().item()
            assert found == pytest.approx(expected, rel=1e-3)
    assert logs.count_updates(recording.log) == 3


def test_clipping_of_a_part_of_the_gradients_is_refused(tmp_path):
    """One coefficient would not undo it."""
    model, optimizer = made()
    with (
        pytest.raises(RuntimeError, match="a part of the gradients"),
        lca.record(model, optimizer, tmp_path),
    ):
        (10 * loss_of(model, batch(0))).backward()
        for parameter in model.parameters():
            nn.utils.clip_grad_norm_(parameter, 1e-3)


@pytest.mark.parametrize("forget", ["optimizer", "model", "model, to zero"])
def test_the_clipping_of_gradients_of_which_no_step_is_made_is_forgotten(tmp_path, forget):
    model, optimizer = made()

    def train_but_spikes(spikes):
        for number in range(6):
            optimizer.zero_grad() if forget == "optimizer" else model.zero_grad(forget == "model")
            scale = 100 if number in spikes else 1e-3
            (scale * loss_of(model, batch(number))).backward()
            if nn.utils.clip_grad_norm_(model.parameters(), 1.0) < 10:
                optimizer.step()

    with lca.record(model, optimizer, tmp_path / "some") as recording:
        if forget == "model, to zero":  # cannot be told from adding to clipped gradients
            with pytest.raises(RuntimeError, match="gradients that changed after it"):
                train_but_spikes({2, 3})
            return recording.stop()
        train_but_spikes({2, 3})
    row = lca.read(recording.log).facts
    assert (row["gradient_norm"] < 0.1).all()
    whole = logs.series(recording.log, "own_batch", "sum").sum(axis="columns").abs()
    assert whole.max() < 0.01  # not a hundred times that


def test_adding_to_clipped_gradients_is_refused(tmp_path):
    """As clipping after every one of several batches does."""
    model, optimizer = made()
    with (
        pytest.raises(RuntimeError, match="gradients that changed after it"),
        lca.record(model, optimizer, tmp_path),
    ):
        for number in range(2):
            (10 * loss_of(model, batch(number))).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)


def test_other_blocks_than_those_of_the_log_are_refused(tmp_path):
    model, optimizer = made()
    with (
        pytest.raises(RuntimeError, match="other blocks than the log"),
        lca.record(model, optimizer, tmp_path),
    ):
        train(model, optimizer, range(2))
        more = nn.Linear(3, 3)
        optimizer.add_param_group({"params": more.parameters()})
        optimizer.attach(nn.Sequential(model, more))
        train(model, optimizer, range(2))


def test_layers_that_are_trained_in_turn_have_their_own_names(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    optimizer = lca.SGD(model.parameters(), lr=0.1)
    for number in range(2):
        model.requires_grad_(False)[number].requires_grad_(True)
        with lca.record(model, optimizer, tmp_path / str(number)) as recording:
            for _ in range(3):
                model.zero_grad()
                model(torch.ones(1, 3)).sum().backward()
                optimizer.step()
        names = set(logs.blocks(recording.log)["component"])
        assert names == {f"{number}.weight", f"{number}.bias"}


class Whimsical(nn.Module):
    """Leaves its layer out by the random numbers of Python and of NumPy."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(8, 1)

    def forward(self, inputs):
        share = random.random() + np.random.rand()
        return self.layer(inputs) * share


def test_random_numbers_of_all_generators_are_drawn_as_without_measuring(tmp_path):
    found = []
    for how in ({}, {"loss_of": loss_of, "sample": SAMPLE, "trapezoid_every": 2, "updates": 20}):
        torch.manual_seed(0)
        random.seed(1)
        np.random.seed(1)
        model = Whimsical()
        optimizer = lca.AdamW(model.parameters(), lr=1e-2)
        with lca.record(model, optimizer, tmp_path / f"{len(how)}", **how) as recording:
            train(model, optimizer, range(20))
        found.append(model.layer.weight)
    assert torch.equal(*found)
    residuals = logs.strides(recording.log)["residual"].abs()
    assert residuals.max() < 1e-3  # the same numbers at both ends of a stride


@pytest.mark.parametrize("change", ["replaced", "frozen"])
def test_a_model_that_changes_meanwhile(tmp_path, change):
    model, optimizer = made()
    how = {"loss_of": loss_of, "sample": SAMPLE, "trapezoid_every": 2}
    with lca.record(model, optimizer, tmp_path, **how) as recording:
        train(model, optimizer, range(4))
        if change == "replaced":
            model[0].bias = nn.Parameter(torch.zeros(32))
            with pytest.raises(RuntimeError, match=r"0\.bias: is another parameter than when"):
                train(model, optimizer, range(4, 8))
        else:  # as people do who train the last layers alone in the end
            model[0].requires_grad_(False)
            train(model, optimizer, range(4, 8))
    assert logs.count_updates(recording.log) >= 3


def test_clipping_by_value_is_refused_of_the_recorded_gradients_alone(tmp_path):
    model, optimizer = made()
    with (
        pytest.raises(RuntimeError, match="clipping by value"),
        lca.record(model, optimizer, tmp_path),
    ):
        (10 * loss_of(model, batch(0))).backward()
        other = torch.ones(3, requires_grad=True)
        (7 * other).sum().backward()
        nn.utils.clip_grad_value_(other, 5.0)
        assert other.grad.tolist() == [5.0] * 3
        nn.utils.clip_grad_value_(model.parameters(), 1e-3)


def test_a_training_that_goes_on_from_a_checkpoint_goes_on_with_its_log(tmp_path):
    settings = dict(loss_of=loss_of, sample=SAMPLE, trapezoid_every=4, loss_every=20)
    _, whole = recorded(tmp_path / "whole", **settings)
    model, optimizer = made()
    with (
        pytest.raises(KeyboardInterrupt),
        lca.record(model, optimizer, tmp_path / "cut", **settings),
    ):
        train(model, optimizer, range(20))
        checkpoint = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
        train(model, optimizer, range(20, 30))
        optimizer.state_dict()  # rows up to 30 are written
        raise KeyboardInterrupt
    model, optimizer = made()
    with lca.record(model, optimizer, tmp_path / "cut", **settings) as recording:
        model.load_state_dict(checkpoint[0])
        optimizer.load_state_dict(checkpoint[1])
        train(model, optimizer, range(20, UPDATES))
    for group in ("own_batch", "next_batch", "trapezoid"):
        pd.testing.assert_frame_equal(
            logs.series(recording.log, group, "sum"), logs.series(whole, group, "sum")
        )
    assert 20 not in logs.strides(whole).index  # the restart was within a stride


def test_of_more_updates_than_said_the_others_are_not_compared(tmp_path):
    """Their losses would be held against strides that have ended."""
    _, log = recorded(tmp_path, loss_of, SAMPLE, updates=10, loss_every=20)
    assert logs.count_updates(log) == UPDATES - 1
    assert logs.strides(log).index.max() == 9
    assert (lca.read(log).adds_up["update"] == 9).all()


def test_a_short_training_of_unknown_length_is_compared_for_half_of_it_at_least(tmp_path):
    _, log = recorded(tmp_path, loss_of, SAMPLE, trapezoid_every=4)
    ends = lca.read(log).adds_up.set_index("estimator")
    assert (ends["update"] == 32).all()
    assert abs(ends.loc["trapezoid", "gap"]) < 0.05


class Checkpointed(nn.Module):
    """Computes the activations of its layers once more in the backward pass."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, inputs):
        for layer in self.layers:
            inputs = checkpoint(layer, inputs, use_reentrant=False)
        return inputs


def test_gradient_checkpointing_changes_nothing(tmp_path):
    found = []
    for model in (nn.Sequential, Checkpointed):
        torch.manual_seed(0)
        model = model(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
        optimizer = lca.AdamW(model.parameters(), lr=1e-2)
        folder = tmp_path / type(model).__name__
        with lca.record(model, optimizer, folder, loss_of, SAMPLE, trapezoid_every=8) as recording:
            train(model, optimizer, range(20))
        found.append(logs.series(recording.log, "trapezoid", "sum").to_numpy())
    np.testing.assert_array_equal(*found)


def test_an_optimizer_can_be_recorded_again_elsewhere(tmp_path):
    model, optimizer = made()
    for folder in ("one", "two"):
        with lca.record(model, optimizer, tmp_path / folder) as recording:
            train(model, optimizer, range(3))
        assert logs.count_updates(recording.log) == 2


def test_what_is_not_finite_is_not_recorded(tmp_path):
    model, optimizer = made()
    with (
        pytest.raises(FloatingPointError, match=r"update 3: own_batch of other.0.0.weight is not"),
        lca.record(model, optimizer, tmp_path) as recording,
    ):
        train(model, optimizer, range(2))
        model[0].weight.grad.fill_(float("nan"))
        optimizer.step()
    assert recording.updates == 2


def test_a_sample_whose_loss_is_not_finite_is_refused(tmp_path):
    model, optimizer = made()
    sample = [*SAMPLE[:-1], (SAMPLE[-1][0] * float("nan"), SAMPLE[-1][1])]
    with (
        pytest.raises(FloatingPointError, match="update 1: the loss of the sample is not finite"),
        lca.record(model, optimizer, tmp_path, loss_of, sample),
    ):
        train(model, optimizer, range(4))


def test_a_loss_of_another_model_is_refused(tmp_path):
    other, _ = made()
    with pytest.raises(ValueError, match="does not depend on the model that it is given"):
        recorded(tmp_path, lambda _, batch: loss_of(other, batch), SAMPLE)


def test_a_sample_whose_gradient_is_not_finite_is_refused(tmp_path):
    def steep(model, batch):
        return loss_of(model, batch) + (0 * model[0].weight).sum().sqrt()

    model, optimizer = made()
    with (
        pytest.raises(FloatingPointError, match="update 1: trapezoid of other.0.0.weight is not"),
        lca.record(model, optimizer, tmp_path, steep, SAMPLE),
    ):
        train(model, optimizer, range(4))


def test_a_skipped_step_leaves_no_row(tmp_path):
    model, optimizer = made()
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    with lca.record(model, optimizer, tmp_path) as recording:
        for number in range(5):
            optimizer.zero_grad()
            loss = loss_of(model, batch(number))
            scaler.scale(loss * (float("inf") if number == 2 else 1)).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()
    assert logs.count_updates(recording.log) == 3
    assert verify.verify(recording.log) == 3


def test_of_several_workers_the_first_records(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    model, optimizer = made()
    with lca.record(model, optimizer, tmp_path) as recording:
        train(model, optimizer, range(3))
    assert not recording.log.exists() and not list(tmp_path.iterdir())


def nudge(module):
    for parameter in module.parameters(recurse=False):
        parameter.data += 1


def test_bad_input_is_refused(tmp_path, log):
    model, optimizer = made()
    with pytest.raises(FileExistsError, match="log.parquet: exists"):
        lca.Recording(model, optimizer, log[1].parent)
    with pytest.raises(ValueError, match="needs a sample"):
        lca.Recording(model, optimizer, tmp_path, loss_of)
    with pytest.raises(ValueError, match="updates is -1"):  # as of a Trainer without max_steps
        lca.Recording(model, optimizer, tmp_path, updates=-1)
    for setting in ("trapezoid_every", "loss_every"):
        with pytest.raises(ValueError, match="at least 1"):
            lca.Recording(model, optimizer, tmp_path, **{setting: 0})
    first = lca.Recording(model, optimizer, tmp_path / "one")
    with pytest.raises(RuntimeError, match="is being recorded already"):
        lca.Recording(model, optimizer, tmp_path / "two")
    first.stop()
    with pytest.raises(TypeError, match="such as lca.AdamW in place of this SGD"):
        lca.Recording(model, torch.optim.SGD(model.parameters()), tmp_path)
    optimizer.attach(model)
    with pytest.raises(ValueError, match="neither the model's nor a copy"):
        lca.Recording(made()[0].apply(nudge), optimizer, tmp_path)
    state = copy.deepcopy(optimizer.state_dict())
    state["param_groups"][0]["lca_updates"] = 7
    message = "ends at update 0 instead of 7: is it the folder of another training"
    with pytest.raises(LogError, match=message), lca.record(model, optimizer, tmp_path):
        optimizer.load_state_dict(state)  # of a log that is not there
        train(model, optimizer, range(1))
