"""What LCA leaves of fairseq's training, where it ends, and what goes on after a checkpoint."""

import math

import numpy as np
import pytest
import torch

from lca.recorder import FACTS
from trainers import ARCHITECTURES, PRECISIONS, parameters, rows_of, start, write_data


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("objective", ARCHITECTURES)
def test_measuring_changes_nothing_of_the_training(data, tmp_path, objective):
    measures = ["--lca-probe-every=2", "--lca-probe-tokens=60", "--lca-probe-loss-tokens=60"]
    measures += ["--lca-trapezoid-every=1", "--lca-trapezoid-tokens=60"]
    plain, batches = start(data, tmp_path / "plain", objective)
    measured, _ = start(data, tmp_path / "measured", objective, *measures)
    for samples in batches[:3]:
        state = torch.get_rng_state(), np.random.get_state()[1].tolist()
        plain.train_step(samples)
        after_plain = torch.get_rng_state()
        torch.set_rng_state(state[0])
        measured.train_step(samples)
        assert torch.equal(torch.get_rng_state(), after_plain)
        assert np.random.get_state()[1].tolist() == state[1]
    assert rows_of(measured)[1]["trapezoid/updates"] == 1
    for one, other in zip(parameters(plain), parameters(measured), strict=True):
        assert torch.equal(one, other)


def test_steps_that_overflow_are_counted_but_are_no_updates(data, tmp_path, monkeypatch):
    """fp16's loss scale starts so high that the first gradients overflow."""
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)  # what fairseq then calls
    options = ["--fp16-init-scale=67108864", "--update-freq=2"]
    trainer, batches = start(data, tmp_path, "clm", *options, common=PRECISIONS["fp16"])
    before, losses = parameters(trainer), []
    for samples in 4 * batches:
        trainer.train_step(samples)
        if not trainer.get_num_updates():
            losses.append(len(losses))
            assert all(torch.equal(a, b) for a, b in zip(before, parameters(trainer), strict=True))
    rows = [dict(zip(FACTS, row, strict=False)) for row in trainer.lca.recorder.rows]
    assert losses and [row["update"] for row in rows] == list(range(1, len(rows) + 1))
    assert rows[0]["overflows"] == len(losses)
    assert rows[0]["loss_scale"] == 2**26 / 2 ** len(losses)
    assert sum(row["overflows"] for row in rows) == 4 * len(batches) - len(rows)


DIVERGED = "the training has diverged; lower the learning rate \\(lr\\) or warm it up"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("optimizer", ["lca_adam", "lca_sgd"])
@pytest.mark.parametrize("objective", ARCHITECTURES)
def test_divergence_names_the_update_and_leaves_only_true_rows(
    data, tmp_path, objective, optimizer, precision
):
    common = PRECISIONS.get(precision, [])
    trainer, batches = start(
        data, tmp_path, objective, "--lr=1e30", optimizer=optimizer, common=common
    )
    with pytest.raises(ArithmeticError, match=DIVERGED) as error:
        for samples in batches:
            trainer.train_step(samples)
    rows = trainer.lca.recorder.rows
    assert f"update {len(rows) + 1}: the " in str(error.value)
    for row in rows:
        assert all(value is None or math.isfinite(value) for value in row)


def test_a_loss_that_is_not_finite_is_divergence_even_with_a_finite_gradient(
    data, tmp_path, monkeypatch
):
    trainer, batches = start(data, tmp_path, "clm")
    trainer.train_step(batches[0])
    step = trainer.task.train_step

    def infinite(*arguments, **options):
        loss, size, output = step(*arguments, **options)
        return loss, size, output | {"loss": torch.tensor(math.inf)}

    monkeypatch.setattr(trainer.task, "train_step", infinite)
    with pytest.raises(
        ArithmeticError, match=f"^update 2: the loss is not finite .inf., {DIVERGED}"
    ):
        trainer.train_step(batches[1])
    assert [row[0] for row in trainer.lca.recorder.rows] == [1]


def test_fp16_diverges_when_no_loss_scale_is_small_enough(data, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)
    options = ["--fp16-init-scale=4", "--lr=1e30"]
    trainer, batches = start(data, tmp_path, "clm", *options, common=PRECISIONS["fp16"])
    with pytest.raises(ArithmeticError, match=f"^update 2: the gradient is not .*, {DIVERGED}"):
        for samples in 10 * batches:
            trainer.train_step(samples)
    assert [row[0] for row in trainer.lca.recorder.rows] == [1]


SGD = dict(optimizer="lca_sgd")


@pytest.mark.parametrize(
    ("objective", "options"), [*((objective, {}) for objective in ARCHITECTURES), ("clm", SGD)]
)
def test_interrupted_training_continues_bit_for_bit(
    data, tmp_path, objective, options, monkeypatch
):
    more = ["--momentum=0.9"] if options else []
    more += ["--lca-trapezoid-every=2", "--lca-trapezoid-tokens=60", "--lca-probe-every=4"]
    more += ["--lca-probe-tokens=60", "--lca-probe-loss-tokens=60"]
    monkeypatch.setattr("lca.trapezoid.DENSE", 2)
    whole, batches = start(data, tmp_path / "whole", objective, *more, **options)
    for samples in batches[:6]:
        whole.train_step(samples)
    first, batches = start(data, tmp_path / "parts", objective, *more, **options)
    for samples in batches[:3]:
        first.train_step(samples)
    path = tmp_path / "parts/checkpoints/checkpoint_last.pt"
    path.parent.mkdir()
    iterator = first.get_train_iterator(1, load_dataset=False)
    first.consolidate_optimizer()
    first.save_checkpoint(str(path), {"train_iterator": iterator.state_dict(), "val_loss": None})
    first.train_step(batches[3])  # lost: no checkpoint follows
    second, _ = start(data, tmp_path / "parts", objective, *more, **options)
    assert second.get_num_updates() == 3
    for samples in batches[3:6]:
        second.train_step(samples)
    for one, other in zip(parameters(whole), parameters(second), strict=True):
        assert torch.equal(one, other)
    assert without_time(second) == without_time(whole)[3:]
    strides = [row["trapezoid/updates"] for row in rows_of(whole)]
    assert strides == [1, 1, None, 2, None, 2]  # the restart is within one


def without_time(trainer):
    position = list(FACTS).index("seconds")
    return [row[:position] + row[position + 1 :] for row in trainer.lca.recorder.rows]


@pytest.mark.parametrize("setting", ["memory_efficient_bf16", "amp"])
def test_precisions_without_a_float32_copy_are_refused(data, tmp_path, setting):
    option = f"--{setting}".replace("_", "-")
    with pytest.raises(ValueError, match=f"lca_adam does not support {option}"):
        start(data, tmp_path, "clm", common=["bf16" if "bf16" in setting else "amp", setting])


@pytest.mark.parametrize("option", ["--sentence-avg", "--ddp-backend=slowmo"])
def test_what_lca_does_not_support_is_refused(data, tmp_path, option):
    with pytest.raises(ValueError, match=f"lca_adam does not support {option.replace('=', ' ')}"):
        start(data, tmp_path, "clm", option)


def test_without_lca_adam_fairseq_is_as_it_was(data, tmp_path):
    trainer, batches = start(data, tmp_path, "clm", optimizer="sgd")
    trainer.train_step(batches[0])
    assert trainer.get_num_updates() == 1
    assert not (tmp_path / "log").exists()


@pytest.mark.parametrize("common", [[], PRECISIONS["bf16"]], ids=["fp32", "bf16"])
def test_the_updates_of_lca_sgd_are_those_of_fairseqs_sgd(data, tmp_path, common):
    options = ["--momentum=0.9", "--clip-norm=0.5"]
    ours, batches = start(data, tmp_path, "mt", *options, optimizer="lca_sgd", common=common)
    theirs, _ = start(data, tmp_path, "mt", *options, optimizer="sgd", common=common)
    for samples in batches[:4]:
        ours.train_step(samples)
        theirs.train_step(samples)
    for one, other in zip(parameters(ours), parameters(theirs), strict=True):
        assert torch.equal(one, other)
