"""An update is the same, loss and LCA, in one batch and in several micro-batches."""

import pytest

from lca import LAGS
from lca.recorder import FACTS
from trainers import ARCHITECTURES, parameters, start, write_data

UPDATES = 3
WITHOUT_DROPOUT = ["--dropout=0", "--attention-dropout=0"]  # its masks are drawn by micro-batch


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


def train(data, folder, objective, size, number):
    """Return the rows of three updates of `number` micro-batches of `size` sentences each."""
    options = [*WITHOUT_DROPOUT, f"--batch-size={size}", f"--update-freq={number}"]
    trainer, updates = start(data, folder, objective, *options)
    for samples in updates[:UPDATES]:
        assert [len(sample["id"]) for sample in samples] == [size] * number
        trainer.train_step(samples)
    names = trainer.lca.recorder.schema.names
    return [dict(zip(names, row, strict=True)) for row in trainer.lca.recorder.rows], trainer


@pytest.mark.parametrize("objective", ARCHITECTURES)
def test_micro_batches_change_an_update_by_rounding_alone(data, tmp_path, objective):
    whole, one = train(data, tmp_path / "whole", objective, 16, 1)
    parts, other = train(data, tmp_path / "parts", objective, 4, 4)
    for row, expected in zip(parts, whole, strict=True):
        for name in [name for name in FACTS if expected[name] is not None and name != "seconds"]:
            assert row[name] == pytest.approx(expected[name], rel=1e-5), name
        for lag in ("own_batch", "next_batch"):
            sums = [name for name in row if name.startswith(f"{lag}/sum/")]
            scale = sum(abs(expected[name]) for name in sums)
            assert scale > 1e-3 or expected["update"] <= LAGS[lag]
            for name in sums:
                assert row[name] == pytest.approx(expected[name], abs=1e-4 * scale), name
    assert (
        sum(abs(whole[-1][name]) for name in whole[-1] if name.startswith("own_batch/sum")) > 1e-3
    )
    for a, b in zip(parameters(one), parameters(other), strict=True):
        assert (a - b).abs().max() < 1e-4
