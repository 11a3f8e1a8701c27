"""The optimizers in the hands of people who train with PyTorch, and what is refused there."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import mse_loss

import lca
from lca.allocation import per_block
from lca.blocks import partition
from lca.optimizers import SGD, Adam, AdamW

PAIRS = [
    (AdamW, torch.optim.AdamW, {"lr": 1e-2, "weight_decay": 0.1}),
    (Adam, torch.optim.Adam, {"lr": 1e-2, "weight_decay": 0.01}),
    (SGD, torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.01}),
    (SGD, torch.optim.SGD, {"lr": 0.1}),
]
UPDATES = 200


class Net(nn.Module):
    """With a head that is not always used, and so has no gradient then."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), nn.Tanh(), nn.Linear(16, 4))
        self.aside = nn.Linear(8, 4)
        self.gain = nn.Parameter(torch.tensor(1.0))

    def forward(self, inputs, aside):
        found = self.gain * self.body(inputs)
        return found + self.aside(inputs) if aside else found


def groups(model):
    """Matrices decay, the rest does not and learns at a rate of its own."""
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": others, "weight_decay": 0.0, "lr": 3e-3}, {"params": matrices}]


def batch(number):
    generator = torch.Generator().manual_seed(number)
    inputs = torch.randn(32, 8, generator=generator)
    return inputs, torch.sin(inputs[:, :4])


def backward(model, update, parts=2):
    for part in range(parts):  # gradients accumulate
        inputs, targets = batch(parts * update + part)
        (mse_loss(model(inputs, update % 3 == 0), targets) / parts).backward()


def train(model, optimizer, updates, scaler=None):
    """Train as people do: schedule, clipping, some gradients None, the loss scaled or not."""
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1 / (1 + n / 50))
    for update in updates:
        optimizer.zero_grad()
        if scaler is None:
            backward(model, update)
        else:
            inputs, targets = batch(update)
            scaler.scale(mse_loss(model(inputs, False), targets)).backward()
            scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        if scaler is None:
            optimizer.step()
        else:
            scaler.step(optimizer)
            scaler.update()
        schedule.step()


def both(ours, theirs, settings):
    """Return a model with either optimizer."""
    torch.manual_seed(0)
    model = Net()
    other = copy.deepcopy(model)
    optimizer = ours(groups(model), **settings)
    optimizer.attach(model)
    return (model, optimizer), (other, theirs(groups(other), **settings))


def assert_close(model, other):
    for (name, p), q in zip(model.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-6, msg=name)


@pytest.fixture(params=["compiled", "pytorch"])
def implementation(request, monkeypatch):
    if request.param == "pytorch":
        monkeypatch.setattr(AdamW, "_runner", lambda self, device: self._run_anywhere)
        monkeypatch.setattr(Adam, "_runner", lambda self, device: self._run_anywhere)
        monkeypatch.setattr(SGD, "_runner", lambda self, device: self._run_anywhere)
    return request.param


@pytest.mark.parametrize("pair", PAIRS)
def test_a_training_as_people_have_it_goes_as_with_pytorchs_optimizer(pair, implementation):
    ours, theirs = both(*pair)
    for model, optimizer in (ours, theirs):
        train(model, optimizer, range(UPDATES))
    assert_close(ours[0], theirs[0])
    if implementation == "pytorch":
        assert all(map(torch.equal, ours[0].parameters(), theirs[0].parameters()))


@pytest.mark.parametrize("pair", PAIRS[:1])
def test_a_scaled_loss_changes_nothing(pair):
    ours, theirs = both(*pair)
    scalers = [torch.amp.GradScaler("cpu", init_scale=2.0**10) for _ in range(2)]
    for (model, optimizer), scaler in zip((ours, theirs), scalers, strict=True):
        train(model, optimizer, range(20), scaler)
    assert_close(ours[0], theirs[0])


@pytest.mark.parametrize("direction", ["to ours", "to theirs"])
@pytest.mark.parametrize("pair", PAIRS)
def test_a_running_training_can_switch(pair, direction):
    ours, (other, reference) = both(*pair)
    for half in (range(30), range(30, 60)):
        train(other, reference, half)
    first = ours if direction == "to theirs" else both(*pair)[1]
    train(*first, range(30))
    then = both(*pair)[0 if direction == "to ours" else 1]
    then[0].load_state_dict(first[0].state_dict())
    state = copy.deepcopy(first[1].state_dict())
    then[1].load_state_dict(state)
    train(*then, range(30, 60))
    assert_close(then[0], other)


@pytest.mark.parametrize("pair", PAIRS[:2])  # the states of SGD count no updates
def test_what_the_other_optimizer_did_meanwhile_is_not_taken_for_ours(pair):
    (model, optimizer), (other, reference) = both(*pair)
    train(model, optimizer, range(3))
    other.load_state_dict(model.state_dict())
    reference.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    train(other, reference, range(3, 6))
    model.load_state_dict(other.state_dict())
    optimizer.load_state_dict(copy.deepcopy(reference.state_dict()))
    train(model, optimizer, range(6, 7))
    assert not optimizer.allocations["next_batch"].any()
    train(model, optimizer, range(7, 8))
    assert optimizer.allocations["next_batch"].any()


def test_a_copy_of_an_optimizer_is_attached_to_the_copy_of_its_model():
    (model, optimizer), _ = both(*PAIRS[0])
    train(model, optimizer, range(3))
    for copied in (copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))):
        other, its_own = copied((model, optimizer))
        refused(RuntimeError, "attach", its_own.step)
        its_own.attach(other)
        train(other, its_own, range(3, 5))
        expected = copy.deepcopy(model.state_dict())
        again, reference = both(*PAIRS[0])[0]
        train(again, reference, range(3))
        train(again, reference, range(3, 5))
        assert all(map(torch.equal, again.parameters(), other.parameters()))
        assert all(torch.equal(expected[name], value) for name, value in model.state_dict().items())


def test_the_state_has_the_names_of_pytorchs():
    (model, optimizer), (other, reference) = both(*PAIRS[0])
    for one in ((model, optimizer), (other, reference)):
        train(*one, range(2))
    mine, other = optimizer.state_dict(), reference.state_dict()
    assert mine["state"].keys() == other["state"].keys()
    assert mine["state"][0].keys() - {"last", "last_step"} == other["state"][0].keys()
    assert mine["state"][0]["step"] == other["state"][0]["step"] == 2


def test_a_closure_is_called_with_gradients_enabled():
    model = Net()
    optimizer = AdamW(model.parameters())
    optimizer.attach(model)

    def closure():
        optimizer.zero_grad()
        loss = mse_loss(model(batch(0)[0], True), batch(0)[1])
        loss.backward()
        return loss

    losses = [optimizer.step(closure).item() for _ in range(30)]
    assert losses[-1] < losses[0]


def test_next_batch_knows_the_settings_of_the_update_before():
    """Though learning rate, betas and decay change in between, as with OneCycleLR."""
    model = nn.Linear(4, 4, bias=False)
    optimizer = AdamW(model.parameters(), lr=1e-2, betas=(0.5, 0.9), weight_decay=0.3)
    optimizer.attach(model)
    model.weight.grad = torch.randn(4, 4)
    before = model.weight.detach().clone()
    optimizer.step()
    moved = model.weight.detach() - before
    optimizer.param_groups[0].update(lr=1.0, betas=(0.9, 0.99), weight_decay=0.0)
    model.weight.grad = torch.randn(4, 4)
    optimizer.step()
    expected = (model.weight.grad.double() * moved).sum().item()
    found = optimizer.allocations["next_batch"][:, 0].sum().item()
    assert found == pytest.approx(expected, rel=1e-4)


def test_before_the_first_update_there_was_none(implementation):
    ours, _ = both(*PAIRS[0])
    train(*ours, range(1))
    assert torch.isfinite(ours[1].allocations["own_batch"]).all()
    assert not ours[1].allocations["next_batch"].any()


def test_parameters_are_told_by_identity_not_by_size():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False))
    first, second = model.parameters()
    optimizer = SGD([second, first], lr=0.1)
    optimizer.attach(model)
    first.grad, second.grad = torch.zeros(4, 4), torch.ones(4, 4)
    optimizer.step()
    blocks = per_block(optimizer.allocations["own_batch"], optimizer.partition)
    assert blocks[:, 0].tolist() == [0.0, pytest.approx(-1.6)]
    assert torch.equal(optimizer.gradients()[1], torch.ones(16))
    assert torch.equal(optimizer.values()[0], first.detach().view(-1))


def test_a_mixed_precision_copy_is_told_by_its_values():
    model = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)).half()
    copies = [nn.Parameter(p.detach().float()) for p in model.parameters()]
    AdamW(copies).attach(model)
    AdamW([nn.Parameter(torch.cat([p.detach().view(-1) for p in copies]))]).attach(model)
    with pytest.raises(ValueError, match="neither the model's nor a copy"):
        AdamW(copies[::-1]).attach(model)


def test_a_parameter_without_elements_changes_nothing():
    model = nn.ParameterList([torch.ones(3), torch.empty(0)])
    optimizer = SGD(model.parameters(), lr=0.1)
    optimizer.attach(model)
    sum(p.sum() for p in model).backward()
    optimizer.step()
    assert optimizer.allocations["own_batch"].sum(dim=0).tolist() == pytest.approx([-0.3, 0, 3, 0])


def refused(error, match, call):
    with pytest.raises(error, match=match) as raised:
        call()
    assert "\n" not in str(raised.value)


def test_a_model_that_the_optimizer_does_not_hold_is_refused():
    model, other = Net(), nn.Linear(3, 3)
    names = [name for name, _ in model.named_parameters()]
    refused(RuntimeError, "attach", AdamW(model.parameters()).step)
    refused(ValueError, "not those of the model", lambda: AdamW(other.parameters()).attach(model))
    some = [p for name, p in model.named_parameters() if name != "aside.weight"]
    assert "aside.weight" in names
    refused(ValueError, "aside.weight: .*does not hold", lambda: AdamW(some).attach(model))
    more = [*model.parameters(), *other.parameters()]
    refused(ValueError, "does not have", lambda: AdamW(more).attach(model))
    refused(
        *(ValueError, "blocks are not of"),
        lambda: AdamW(model.parameters()).attach(model, partition(other)),
    )


@pytest.mark.filterwarnings("ignore:optimizer contains a parameter group with duplicate")
def test_a_parameter_held_twice_is_refused():
    model = nn.Linear(3, 3)
    twice = AdamW([model.weight, model.weight, model.bias])
    refused(ValueError, "twice", lambda: twice.attach(model))


def test_tensors_that_the_kernels_cannot_update_are_refused():
    half = Net().bfloat16()
    refused(ValueError, "float32.*bfloat16", lambda: AdamW(half.parameters()).attach(half))
    transposed = nn.ParameterDict({"x": nn.Parameter(torch.ones(3, 2).T)})
    refused(
        *(ValueError, "x: .*contiguous"),
        lambda: AdamW(transposed.parameters()).attach(transposed),
    )

    class Other(torch.Tensor):
        """As DTensor is."""

    strange = nn.ParameterDict({"x": nn.Parameter(torch.ones(2).as_subclass(Other))})
    refused(
        *(ValueError, "x: .*plain tensors, not a Other"),
        lambda: AdamW(strange.parameters()).attach(strange),
    )


def test_other_layers_of_the_same_size_are_not_taken_for_those_of_the_blocks():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].requires_grad_(False)
    blocks = partition(model)
    model.requires_grad_(True)[0].requires_grad_(False)
    optimizer = AdamW(model.parameters())
    refused(ValueError, "blocks are not of", lambda: optimizer.attach(model, blocks))


def test_parameters_that_are_laid_out_anew_are_refused():
    model = nn.Linear(3, 3)
    optimizer = AdamW(model.parameters())
    optimizer.attach(model)
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    model.weight.data = model.weight.data.T
    refused(RuntimeError, "weight: is not contiguous any more", optimizer.step)


def test_gradients_without_a_true_allocation_are_refused():
    model = nn.Embedding(5, 4, sparse=True)
    optimizer = SGD(model.parameters(), lr=0.1)
    optimizer.attach(model)
    refused(RuntimeError, "backward", optimizer.step)
    model(torch.tensor([1])).sum().backward()
    refused(RuntimeError, "weight: .*sparse", optimizer.step)
    frozen = Net()
    frozen.aside.weight.requires_grad = False
    optimizer = SGD(frozen.parameters(), lr=0.1)
    optimizer.attach(frozen)
    frozen.aside.weight.requires_grad = True
    frozen(batch(0)[0], True).sum().backward()
    refused(RuntimeError, "aside.weight: .*frozen", optimizer.step)
    changed = nn.Linear(3, 3)
    optimizer = SGD(changed.parameters(), lr=0.1)
    optimizer.attach(changed)
    changed.half()(torch.ones(1, 3).half()).sum().backward()
    refused(RuntimeError, "weight: .*float32 gradients, not torch.float16", optimizer.step)


@pytest.mark.parametrize("momenta", [(0.9, 0.0), (0.0, 0.9)])
def test_momentum_that_comes_or_goes_is_refused(momenta):
    model, optimizer = both(SGD, torch.optim.SGD, {"lr": 0.1, "momentum": momenta[0]})[0]
    train(model, optimizer, range(2))
    for again in (optimizer, SGD(groups(model))):
        again.load_state_dict(optimizer.state_dict())
        again.attach(model)
        for group in again.param_groups:
            group["momentum"] = momenta[1]
        refused(RuntimeError, "momentum that comes or goes", again.step)


def test_states_of_other_updates_are_refused():
    model = nn.Linear(3, 3)
    for ours, other in (
        (AdamW, torch.optim.AdamW(model.parameters(), amsgrad=True)),
        (SGD, torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True)),
        (Adam, torch.optim.Adam(model.parameters(), decoupled_weight_decay=True)),
        (AdamW, torch.optim.AdamW(model.parameters(), differentiable=True)),
    ):
        optimizer = ours(model.parameters())
        state = other.state_dict()
        refused(
            *(
                ValueError,
                "does not support (amsgrad|nesterov|decoupled_weight_decay|differentiable)",
            ),
            lambda optimizer=optimizer, state=state: optimizer.load_state_dict(state),
        )
    of_adam = torch.optim.Adam(model.parameters(), weight_decay=0.1).state_dict()
    refused(
        *(ValueError, "AdamW with LCA does not support decoupled_weight_decay=False"),
        lambda: AdamW(model.parameters()).load_state_dict(of_adam),
    )
    refused(
        *(ValueError, "no state of SGD: it has no momentum"),
        lambda: SGD(model.parameters()).load_state_dict(of_adam),
    )
    with pytest.raises(TypeError, match="positional"):  # PyTorch's fourth is dampening
        SGD(model.parameters(), 0.1, 0.9, 0.5)
    refused(ValueError, "lr is -1", lambda: AdamW(model.parameters(), lr=-1))
    refused(ValueError, "betas are", lambda: AdamW(model.parameters(), betas=(0.9, 1.0)))


def test_without_numba_the_updates_are_made_by_pytorch(monkeypatch):
    from lca.optimizers import base

    monkeypatch.setattr(base, "find_spec", lambda name: None)
    ours, theirs = both(*PAIRS[0])
    with pytest.warns(UserWarning, match="numba"):
        train(*ours, range(3))
    train(*theirs, range(3))
    assert all(map(torch.equal, ours[0].parameters(), theirs[0].parameters()))


def test_importing_the_library_takes_nothing_that_it_does_not_need():
    code = """
import sys, lca
assert "torch" not in sys.modules
lca.AdamW, lca.partition
heavy = {"pandas", "matplotlib", "fairseq", "snakemake", "scipy", "numba", "transformers"}
sys.exit(str(heavy & sys.modules.keys()) if heavy & sys.modules.keys() else 0)
"""
    scripts = sys.modules["lca"].__path__[0] + "/.."
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": scripts})


def test_a_type_checker_sees_what_the_library_offers(tmp_path):
    """Names are loaded when they are asked for, which hides them unless they are declared."""
    (tmp_path / "wrong.py").write_text(
        "import lca\n"
        + "".join(f"reveal_type(lca.{name})\n" for name in lca.__all__)
        + "lca.AdamW([], lrr=3)\nlca.record(1, 2, samples=3)\nlca.AdamV\n"
    )
    environment = os.environ | {"MYPYPATH": str(Path(lca.__file__).parents[1])}
    command = [sys.executable, "-m", "mypy", "--no-incremental", "wrong.py"]
    output = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8"
    ).stdout
    assert 'Revealed type is "Any"' not in output
    for complaint in ('argument "lrr"', 'argument "samples"', 'no attribute "AdamV"'):
        assert complaint in output
    assert set(lca.__all__) == set(dir(lca))
