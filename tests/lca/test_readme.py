import re
from pathlib import Path

import pytest
import torch
from torch import nn

EXAMPLE = re.search(
    r"```python\n(.*?)```",
    (Path(__file__).parents[2] / "scripts/lca/README.md").read_text(),
    re.DOTALL,
)[1]


def test_the_example_tracks_a_torch_model_and_adds_up_to_its_loss_change():
    """Small steps, so that the first-order terms are all there is to the change of the loss."""
    torch.manual_seed(0)
    inputs = torch.randn(4096, 8)
    targets = torch.sin(inputs[:, :1] * 2) + inputs[:, 1:2]
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))

    def loss():
        with torch.no_grad():
            return nn.functional.mse_loss(model(inputs), targets).item()

    def batches():
        for _ in range(600):
            chosen = torch.randint(len(inputs), (256,))
            yield inputs[chosen], targets[chosen]

    before = loss()
    names = {"model": model, "batches": batches()}
    exec(EXAMPLE, names)
    shares = names["shares"]
    assert set(shares) == {f"other.0.{name}" for name, _ in model.named_parameters()}
    assert before - loss() > 0.5
    assert sum(shares.values()) == pytest.approx(loss() - before, rel=0.05)


def test_the_example_is_short():
    assert len(EXAMPLE.strip().splitlines()) <= 15
