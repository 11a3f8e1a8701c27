import re
from pathlib import Path

import pytest
import torch
from torch import nn

from lca.allocation import per_block

EXAMPLE = re.search(
    r"```python\n(.*?)```",
    (Path(__file__).parents[2] / "src/lca/README.md").read_text(),
    re.DOTALL,
)[1]


def test_the_example_tracks_a_torch_model_and_adds_up_to_its_loss_change():
    """With steps so large that neither end of them alone would do."""
    torch.manual_seed(0)
    inputs = torch.randn(4096, 8)
    targets = torch.sin(inputs[:, :1] * 2) + inputs[:, 1:2]
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))

    def loss():
        with torch.no_grad():
            return nn.functional.mse_loss(model(inputs), targets).item()

    def batches():
        for _ in range(600):
            halves = torch.randint(len(inputs), (2, 128))
            yield tuple((inputs[half], targets[half]) for half in halves)

    before = loss()
    names = {"model": model, "batches": batches()}
    exec(EXAMPLE, names)
    optimizer, change = names["optimizer"], names["change"]
    blocks = [block.name for block in optimizer.partition.blocks]
    assert blocks == [f"other.0.{name}" for name, _ in model.named_parameters()]
    assert before - loss() > 0.5
    sums = per_block(change, optimizer.partition)[:, 0]
    assert sums.sum().item() == pytest.approx(loss() - before, rel=0.05)


def test_the_example_is_short():
    assert len(EXAMPLE.strip().splitlines()) <= 15
