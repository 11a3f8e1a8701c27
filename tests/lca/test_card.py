"""On a CUDA card, where there is one: mixed precision as fairseq has it there, with a flat float32
copy of all parameters, and measuring beside it."""

import pytest
import torch

from lca.allocation import allocate
from trainers import ARCHITECTURES, rows_of, start, write_data

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA card")

PRECISIONS = {"fp32": [], "bf16": ["bf16"], "fp16": ["fp16"]}
"""As settings: of bf16, fairseq's parser in this process concludes that there are TPUs."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def of_optimizer(trainer):
    """Return copies of the parameters that the optimizer moves, and of their gradients."""
    optimizer = trainer.optimizer.optimizer
    return [
        [tensor.clone() for tensor in tensors()]
        for tensors in (optimizer.values, optimizer.gradients)
    ]


def close(found, expected):
    """Sums agree to float32; counts may differ where a term is almost zero."""
    magnitude = 2 * expected[:, 1] - expected[:, 0]
    assert ((found[:, :2] - expected[:, :2]).abs() <= 1e-4 * magnitude[:, None] + 1e-9).all()
    assert (found[:, 2:] - expected[:, 2:]).abs().max() <= 2


@pytest.mark.parametrize("objective", ARCHITECTURES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_allocations_are_of_what_fairseq_did(data, tmp_path, objective, precision):
    """Of every cell: own_batch of the update, next_batch of the one before."""
    common = PRECISIONS[precision]
    trainer, batches = start(data, tmp_path, objective, "--update-freq=2", on=(), common=common)
    before, moved_last = of_optimizer(trainer)[0], None
    for samples in batches[:4]:
        trainer.train_step(samples)
        after, gradients = of_optimizer(trainer)
        moved = [b - a for a, b in zip(before, after, strict=True)]
        optimizer = trainer.optimizer.optimizer
        found, part = optimizer.allocations, optimizer.partition
        assert found["own_batch"].is_cuda and found["own_batch"][:, 0].sum() != 0
        close(found["own_batch"], allocate(gradients, moved, part))
        if moved_last is not None:
            expected = allocate(gradients, moved_last, part)
            # it is reckoned from the moments, the naive one from rounded parameters
            magnitude = (2 * expected[:, 1] - expected[:, 0])[:, None]
            difference = (found["next_batch"] - expected)[:, :2].abs()
            assert (difference <= 1e-3 * magnitude + 1e-9).all()
        before, moved_last = after, moved


@pytest.mark.parametrize("objective", ARCHITECTURES)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_strides_and_the_probe_add_up(data, tmp_path, objective, precision):
    """To the change of the loss on their own text, of every group and every probed update."""
    measures = ["--lca-probe-every=2", "--lca-probe-tokens=100", "--lca-probe-loss-tokens=100"]
    measures += ["--lca-trapezoid-every=1", "--lca-trapezoid-tokens=300"]
    trainer, batches = start(
        data, tmp_path, objective, *measures, on=(), common=PRECISIONS[precision]
    )
    for samples in batches[:4]:
        trainer.train_step(samples)
    part = trainer.lca.recorder.partition
    blocks = [f"trapezoid/sum/{block.name}" for block in part.blocks]
    for row in rows_of(trainer):
        sums = torch.tensor([row[block] for block in blocks]).sum(dim=0)
        size = torch.tensor([row[block] for block in blocks]).abs().sum(dim=0)
        off = (sums - torch.tensor(row["trapezoid/changes"])).abs()
        assert (off <= 0.15 * size + 2e-5).all()  # with a learning rate of 0.01
        if row["probe_train/before"] is not None:
            assert abs(row["probe_train/residual"]) < 1e-3
