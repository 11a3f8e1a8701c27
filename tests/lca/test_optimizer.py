"""Against fairseq's Adam and PyTorch's SGD, and the definitions written out with autograd."""

import copy
import os
from itertools import pairwise
from typing import NamedTuple

import fairseq.optim.adam
import numpy as np
import pytest
import torch
from torch import nn

os.environ["TRITON_INTERPRET"] = str(int(not torch.cuda.is_available()))  # before it is imported

import toys
from lca import LAGS
from lca.allocation import per_block
from lca.optimizers import SGD, AdamW, FairseqAdam, LcaOptimizer, base
from lca.optimizers import Adam as TorchAdam

UPDATES = 6
CARD = torch.cuda.is_available()


class Rule(NamedTuple):
    """An optimizer of ours and the one whose updates it makes."""

    ours: type
    reference: type
    settings: dict


ADAM = Rule(
    FairseqAdam,
    fairseq.optim.adam.Adam,
    dict(lr=2e-3, betas=(0.9, 0.98), eps=1e-6, weight_decay=0.01),
)
MOMENTUM = Rule(SGD, torch.optim.SGD, dict(lr=0.1, momentum=0.9, weight_decay=0.01))
PLAIN = Rule(SGD, torch.optim.SGD, dict(lr=0.1))
DECOUPLED = Rule(AdamW, torch.optim.AdamW, dict(lr=2e-3, betas=(0.9, 0.98), weight_decay=0.1))
PENALTY = Rule(TorchAdam, torch.optim.Adam, dict(lr=2e-3, weight_decay=0.01))


def train(objective, model, optimizer, updates=UPDATES):
    """Yield after every update."""
    peak = optimizer.defaults["lr"]
    for update in range(updates):
        for group in optimizer.param_groups:
            group["lr"] = peak * (1 + update) / updates
        optimizer.zero_grad()
        toys.loss(objective, model, seed=update).backward()
        optimizer.step()
        yield update


def attached(model, rule=ADAM):
    optimizer = rule.ours(model.parameters(), **rule.settings)
    optimizer.attach(model)
    return optimizer


def naive_terms(objective, model, rule):
    """Return for every lag and update the terms g * dtheta of all parameters, as defined."""
    reference = rule.reference(model.parameters(), **rule.settings)
    thetas, gradients = [[p.detach().clone() for p in model.parameters()]], []
    for _ in train(objective, model, reference):
        thetas.append([p.detach().clone() for p in model.parameters()])
        gradients.append([p.grad.clone() for p in model.parameters()])
    moved = [[b - a for a, b in zip(*pair, strict=True)] for pair in pairwise(thetas)]
    return {
        lag: [
            [g * d for g, d in zip(gradient, displacement, strict=True)]
            for gradient, displacement in zip(gradients[by:], moved, strict=False)
        ]
        for lag, by in LAGS.items()
    }


def naive_allocation(terms, model, block, head=None):
    """Sum the terms of a block by the names of its parameters, written out case by case."""
    names = {
        "key": "self_attn.k_proj.weight",
        "query": "self_attn.q_proj.weight",
        "value": "self_attn.v_proj.weight",
        "out": "self_attn.out_proj.weight",
        "cross_key": "encoder_attn.k_proj.weight",
        "cross_query": "encoder_attn.q_proj.weight",
        "cross_value": "encoder_attn.v_proj.weight",
        "cross_out": "encoder_attn.out_proj.weight",
        "w1": "fc1.weight",
        "w2": "fc2.weight",
    }
    (term,) = [
        term
        for term, (name, _) in zip(terms, model.named_parameters(), strict=True)
        if name.startswith(f"{block.stack}.")
        and name.endswith(f"layers.{block.layer - 1}.{names[block.component]}")
    ]
    if head is not None:
        width = toys.DIM // toys.HEADS
        own = slice(head * width, (head + 1) * width)
        term = term[:, own] if block.component.endswith("out") else term[own]
    term = term.double()
    counts = (term < 0).sum(), (term > 0).sum()
    return torch.stack([term.sum(), term.clamp(min=0).sum(), *(c.double() for c in counts)])


@pytest.fixture(params=["compiled", "pytorch", "triton"], autouse=True)
def implementation(request, monkeypatch):
    """Run every test with the compiled pass of the CPU, with the PyTorch operations, and with the
    kernel for CUDA: on a card, without one in Triton's interpreter."""
    others = {"pytorch": LcaOptimizer._run_anywhere, "triton": LcaOptimizer._run_on_cuda}
    if request.param in others:
        monkeypatch.setattr(LcaOptimizer, "_run_on_cpu", others[request.param])
    with torch.device("cuda" if CARD and request.param == "triton" else "cpu"):
        yield request.param


def parameters(model):
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


class Apart(NamedTuple):
    """What our optimizer has and what the reference has, of all parameters."""

    ours: torch.Tensor
    theirs: torch.Tensor
    moments: list[tuple[torch.Tensor, torch.Tensor]]


def side_by_side(objective, rule, updates):
    """Yield after every update what the two optimizers make of the same gradients."""
    ours, theirs = toys.model(objective), toys.model(objective)
    optimizer = attached(ours, rule)
    reference = rule.reference(theirs.parameters(), **rule.settings)
    for update in range(updates):
        for step in (optimizer, reference):
            step.param_groups[0]["lr"] = rule.settings["lr"] * min(1, (1 + update) / 20)
        toys.loss(objective, theirs, seed=update % 7).backward()
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.grad = other.grad
        optimizer.step()
        reference.step()
        reference.zero_grad()
        pairs = list(zip(ours.parameters(), theirs.parameters(), strict=True))
        moments = [
            (optimizer.state[mine][name], reference.state[other][name])
            for mine, other in pairs
            for name in optimizer.MOMENTS
            if reference.state[other].get(name) is not None  # plain SGD has none
        ]
        yield Apart(parameters(ours), parameters(theirs), moments)


def correctly_rounded(tensor):
    """The square root as IEEE 754 has it."""
    return torch.from_numpy(np.sqrt(tensor.numpy()))


@pytest.mark.parametrize("objective", toys.OBJECTIVES)
def test_parameters_equal_those_of_fairseqs_adam(objective, implementation, monkeypatch):
    """Bit for bit. PyTorch (on the CPU, MKL) rounds a few square roots, one in 150 or more by
    processor, otherwise than IEEE 754 does, as the compiled pass does: here it is compared with
    fairseq's Adam on IEEE's. The compiler of the kernel for CUDA chooses what it fuses."""
    if implementation == "compiled":
        monkeypatch.setattr(torch.Tensor, "sqrt", correctly_rounded)
    updates = 5 if implementation == "triton" else 200  # interpreting takes time
    for apart in side_by_side(objective, ADAM, updates):
        if implementation != "triton":
            assert all(torch.equal(*pair) for pair in apart.moments)
            assert torch.equal(apart.ours, apart.theirs)
    torch.testing.assert_close(apart.ours, apart.theirs, rtol=0, atol=1e-6)


def test_pytorchs_own_square_roots_move_last_bits_only(implementation):
    *_, apart = side_by_side("mlm", ADAM, 5)
    torch.testing.assert_close(apart.ours, apart.theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rule", [DECOUPLED, PENALTY], ids=["adamw", "adam"])
def test_parameters_equal_those_of_pytorchs_adam(rule, implementation, monkeypatch):
    """Bit for bit, in the compiled pass on IEEE's square roots, as with fairseq's."""
    if implementation == "compiled":
        monkeypatch.setattr(torch.Tensor, "sqrt", correctly_rounded)
    *_, apart = side_by_side("clm", rule, 5 if implementation == "triton" else 200)
    if implementation != "triton":
        assert torch.equal(apart.ours, apart.theirs)
    torch.testing.assert_close(apart.ours, apart.theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("rule", [MOMENTUM, PLAIN], ids=["momentum", "plain"])
def test_parameters_equal_those_of_pytorchs_sgd(rule, implementation):
    """Bit for bit, but for the kernel for CUDA, whose compiler chooses what it fuses."""
    *_, apart = side_by_side("clm", rule, 5 if implementation == "triton" else 200)
    if implementation != "triton":
        assert torch.equal(apart.ours, apart.theirs)
    torch.testing.assert_close(apart.ours, apart.theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("objective", "options", "rule"),
    [
        *(
            (objective, options, ADAM)
            for objective in toys.OBJECTIVES
            for options in ({}, {"encoder_normalize_before": True})
        ),
        ("clm", {}, MOMENTUM),
        ("clm", {}, DECOUPLED),
        ("clm", {}, PENALTY),
    ],
)
def test_allocations_equal_naive_autograd(objective, options, rule, monkeypatch):
    monkeypatch.setattr(base, "TILE", 50)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    naive_model = toys.model(objective, **options)
    model = copy.deepcopy(naive_model)
    naive = naive_terms(objective, naive_model, rule)
    optimizer = attached(model, rule)
    part = optimizer.partition
    for update in train(objective, model, optimizer):
        for lag, by in LAGS.items():
            allocation = optimizer.allocations[lag]
            if update < by:
                assert not allocation.any()
                continue
            terms = naive[lag][update - by]
            total = sum(term.double().sum() for term in terms)
            magnitude = sum(term.double().abs().sum() for term in terms)
            assert abs(allocation[:, 0].sum() - total) <= 1e-5 * magnitude
            blocks = per_block(allocation, part)
            cell = 0
            for number, block in enumerate(part.blocks):
                if block.layer and block.component not in ("norms", "biases"):
                    close(blocks[number], naive_allocation(terms, model, block))
                    for head in range(block.heads if block.heads > 1 else 0):
                        expected = naive_allocation(terms, model, block, head)
                        close(allocation[cell + head], expected)
                cell += block.heads


def close(found, expected):
    """Sums agree to float32; counts may differ where a term is almost zero."""
    torch.testing.assert_close(found[:2], expected[:2], rtol=1e-4, atol=1e-8)
    assert (found[2:] - expected[2:]).abs().max() <= 2


def test_the_first_update_has_no_next_batch_value():
    model = toys.model("clm")
    optimizer = attached(model)
    next(train("clm", model, optimizer))
    assert not optimizer.allocations["next_batch"].any()
    assert optimizer.allocations["own_batch"][:, 0].sum() < 0


def test_a_flat_copy_of_the_parameters_gives_the_same():
    model, flat_model = toys.model("mt"), toys.model("mt")
    optimizer = attached(model)
    flat = nn.Parameter(torch.cat([p.detach().reshape(-1) for p in flat_model.parameters()]))
    flat_optimizer = FairseqAdam([flat], **ADAM.settings)
    flat_optimizer.attach(flat_model)
    for update in range(3):
        optimizer.zero_grad()
        toys.loss("mt", model, update).backward()
        flat.grad = torch.cat([p.grad.reshape(-1) for p in model.parameters()])
        optimizer.step()
        flat_optimizer.step()
        assert optimizer.allocations.keys() == LAGS.keys()
        torch.testing.assert_close(flat_optimizer.allocations, optimizer.allocations)


def test_a_parameter_without_a_gradient_stays_and_is_allocated_nothing():
    model = toys.model("clm")
    optimizer = attached(model)
    steps = train("clm", model, optimizer)
    next(steps)
    embeddings = model.decoder.embed_tokens.weight
    cell = [b.component for b in optimizer.partition.blocks].index("embeddings")
    cell = optimizer.partition.owners.index(cell)
    embeddings.grad = None
    before = embeddings.detach().clone()
    optimizer.step()
    assert torch.equal(embeddings, before)
    assert not optimizer.allocations["own_batch"][cell].any()
    next(steps)
    assert not optimizer.allocations["next_batch"][cell].any()
    assert optimizer.allocations["own_batch"][cell].any()


def test_clipping_is_undone_in_the_allocation_but_not_in_the_update():
    model = toys.model("clm")
    plain, clipped = attached(model), attached(copy.deepcopy(model))
    clipped_model_parameters = clipped.param_groups[0]["params"]
    for update in range(2):
        plain.zero_grad()
        toys.loss("clm", model, update).backward()
        for p, q in zip(model.parameters(), clipped_model_parameters, strict=True):
            q.grad = p.grad * 0.25
        clipped.clip_coefficient = 0.25
        before = [q.detach().clone() for q in clipped_model_parameters]
        plain.step()
        clipped.step()
        expected = sum(
            (p.grad.double() * (q.double() - b.double())).sum()
            for p, q, b in zip(model.parameters(), clipped_model_parameters, before, strict=True)
        )
        assert clipped.allocations["own_batch"][:, 0].sum().item() == pytest.approx(
            expected.item(), rel=1e-4
        )


@pytest.mark.parametrize("rule", [ADAM, MOMENTUM, DECOUPLED], ids=["adam", "sgd", "adamw"])
def test_resuming_from_a_state_dict_continues_bit_for_bit(rule):
    model = toys.model("mlm")
    optimizer = attached(model, rule)
    steps = train("mlm", model, optimizer)
    next(steps), next(steps), next(steps)
    resumed_model = copy.deepcopy(model)
    resumed = attached(resumed_model, rule)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for one, other in ((model, optimizer), (resumed_model, resumed)):
        next(train("mlm", one, other))
    for lag in LAGS:
        assert torch.equal(resumed.allocations[lag], optimizer.allocations[lag])
