import copy
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from lca.allocation import per_block

EXAMPLE = re.search(
    r"```python\n(.*?)```",
    (Path(__file__).parents[2] / "src/lca/README.md").read_text(encoding="utf-8"),
    re.DOTALL,
)[1]


def test_the_example_tracks_a_torch_model_and_adds_up_to_its_loss_change():
    """With steps so large that neither end of them alone would do; batches make 3 % of noise."""
    torch.manual_seed(0)
    inputs = torch.randn(4096, 8)
    targets = torch.sin(inputs[:, :1] * 2) + inputs[:, 1:2]
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))

    def loss(model, batch):
        return nn.functional.mse_loss(model(batch[0]), batch[1])

    def draw():
        drawn = torch.randint(len(inputs), (256,))
        return inputs[drawn], targets[drawn]

    def gradients(batch):
        copied = copy.deepcopy(model)

        def at(values):
            copied.zero_grad()
            nn.utils.vector_to_parameters(torch.cat(values), copied.parameters())
            loss(copied, batch).backward()
            return [p.grad.reshape(-1) for p in copied.parameters()]

        return at

    before = loss(model, (inputs, targets)).item()
    names = {"model": model, "batches": (draw() for _ in range(600)), "loss": loss}
    exec(EXAMPLE, names | {"fresh": draw, "gradients": gradients}, names)
    optimizer, change = names["adam"], names["end"] - names["turned"] / 2
    after = loss(model, (inputs, targets)).item()
    blocks = [block.name for block in optimizer.partition.blocks]
    assert blocks == [f"other.0.{name}" for name, _ in model.named_parameters()]
    assert before - after > 0.5
    sums = per_block(change, optimizer.partition)[:, 0]
    assert sums.sum().item() == pytest.approx(after - before, rel=0.1)


def test_the_example_is_short():
    assert len(EXAMPLE.strip().splitlines()) <= 17
