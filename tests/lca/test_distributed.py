"""Data parallelism: two processes that share an update do what one does with all of it."""

import pytest
import torch
from torch import distributed, multiprocessing, nn
from torch.distributed.fsdp import FullyShardedDataParallel

from lca.optimizers import AdamW
from lca.recorder import FACTS
from trainers import parameters, start, write_data

OPTIONS = [
    "--dropout=0",
    "--clip-norm=0.05",
    "--lca-trapezoid-every=2",
    "--lca-trapezoid-tokens=20",
]
UPDATES = 2


def work(rank, data, folder):
    """Train as one of two processes; the first leaves what it found."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", f"file://{folder}/meet", rank=rank, world_size=2)
    options = [*OPTIONS, "--update-freq=2", "--ddp-backend=legacy_ddp", "--lca-probe-every=2"]
    trainer, batches = start(data, folder, "clm", *options, workers=(rank, 2))
    found = []
    for samples in batches[:UPDATES]:
        trainer.train_step(samples)
        found.append(trainer.optimizer.optimizer.allocations)
    if rank == 0:
        rows = [row[: len(FACTS)] for row in trainer.lca.recorder.rows]
        torch.save((parameters(trainer), found, rows), folder / "found.pt")
    else:
        assert trainer.lca.recorder is None
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def found(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    multiprocessing.spawn(work, (data, folder), nprocs=2)
    return torch.load(folder / "found.pt", weights_only=False)


def test_two_processes_allocate_as_one(data, found, tmp_path):
    trained, allocations, rows = found
    alone, batches = start(data, tmp_path, "clm", *OPTIONS, "--update-freq=4")
    for update, samples in enumerate(batches[:UPDATES]):
        alone.train_step(samples)
        for lag in ("own_batch", "next_batch"):
            expected = alone.optimizer.optimizer.allocations[lag]
            magnitude = (2 * expected[:, 1] - expected[:, 0]).max()
            apart = (allocations[update][lag][:, :2] - expected[:, :2]).abs().max()
            assert apart <= 1e-4 * magnitude
    for one, other in zip(trained, parameters(alone), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    of_one = [row[: len(FACTS)] for row in alone.lca.recorder.rows]
    for name in ("update", "loss", "learning_rate", "gradient_norm", "predicted_tokens"):
        place = list(FACTS).index(name)
        assert [r[place] for r in rows] == pytest.approx([r[place] for r in of_one], rel=1e-5)
    probed = list(FACTS).index("probe_train/after")
    assert [row[probed] is not None for row in rows] == [True, True]


@pytest.mark.parametrize("original", [True, False])
def test_shards_of_parameters_are_refused(tmp_path, original):
    distributed.init_process_group("gloo", f"file://{tmp_path}/meet", rank=0, world_size=1)
    try:
        model = FullyShardedDataParallel(
            nn.Linear(3, 3), device_id=torch.device("cpu"), use_orig_params=original
        )
        with pytest.raises(ValueError, match="not the shards of FSDP"):
            AdamW(model.parameters()).attach(model)
    finally:
        distributed.destroy_process_group()
