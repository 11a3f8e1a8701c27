"""The compiled pass itself; test_optimizer.py compares what it yields."""

import os
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parents[2] / "src"

STEPS = """
import torch
from lca.optimizers import AdamW

torch.manual_seed(1)
layer = torch.nn.Linear(50, 30)
optimizer = AdamW(layer.parameters())
optimizer.attach(layer)
for _ in range(2):
    layer.weight.grad, layer.bias.grad = torch.randn(30, 50), torch.randn(30)
    optimizer.step()
print(torch.stack(list(optimizer.allocations.values())).tolist())
"""


def test_who_compiles_it_gets_what_those_get_who_find_it_compiled(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(SOURCES)}
    compiled, found = (
        subprocess.check_output([sys.executable, "-c", STEPS], env=environment) for _ in range(2)
    )
    assert list(tmp_path.rglob("*.nbc"))
    assert compiled == found
