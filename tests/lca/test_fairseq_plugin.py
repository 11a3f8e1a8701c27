"""LCA inside fairseq's own Trainer, against the gradients and parameters that it leaves behind."""

import copy
import math

import pyarrow.parquet as pq
import pytest
import torch
from fairseq import utils

from lca.recorder import FACTS, columns, values
from trainers import ARCHITECTURES, PRECISIONS, dot, gradients, parameters, start, write_data


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_data(tmp_path_factory.mktemp("data"))


SETTINGS = ["", "--update-freq=4", "--clip-norm=0.05", "bf16", "fp16"]


@pytest.mark.parametrize(
    ("optimizer", "objective", "setting"),
    [
        *(("lca_adam", objective, setting) for objective in ARCHITECTURES for setting in SETTINGS),
        *(("lca_sgd", "mt", setting) for setting in SETTINGS),
    ],
)
def test_blocks_add_up_to_the_dot_products_of_what_fairseq_did(
    data, tmp_path, optimizer, objective, setting
):
    common = PRECISIONS.get(setting, [])
    more = [] if common else setting.split()
    more += ["--momentum=0.9"] if optimizer == "lca_sgd" else []
    trainer, batches = start(data, tmp_path, objective, *more, optimizer=optimizer, common=common)
    before, moved_by_last = parameters(trainer), None
    for samples in batches[:3]:
        trainer.train_step(samples)
        after, gradient = parameters(trainer), gradients(trainer)
        allocations = trainer.optimizer.optimizer.allocations
        scale = 1.0
        if setting.startswith("--clip-norm"):
            norm = torch.sqrt(sum((g.double() ** 2).sum() for g in gradient)).item()
            assert norm == pytest.approx(0.05, rel=1e-3)
            scale = trainer.lca_recorder.rows[-1][3] / norm  # the norm before clipping
        own = scale * dot(gradient, before, after)
        assert allocations["own_batch"][:, 0].sum().item() == pytest.approx(own, rel=1e-5)
        if moved_by_last:
            following = scale * dot(gradient, *moved_by_last)
            magnitude = scale * dot([g.abs() for g in gradient], *map_abs(*moved_by_last))
            found = allocations["next_batch"][:, 0].sum().item()
            assert found == pytest.approx(following, abs=2e-5 * magnitude)
        moved_by_last, before = (before, after), after
    assert [row[0] for row in trainer.lca_recorder.rows] == [1, 2, 3]


def map_abs(before, after):
    """Return (0, |after - before|), whose difference is the absolute displacement."""
    moved = [(b - a).abs() for a, b in zip(before, after, strict=True)]
    return [torch.zeros_like(m) for m in moved], moved


@pytest.mark.parametrize("objective", ARCHITECTURES)
@pytest.mark.parametrize("setting", ["", "--clip-norm=0.05", "bf16", "fp16"])
def test_a_batch_in_parts_is_cross_validated(data, tmp_path, objective, setting):
    """Against the definition with a learning rate so small that updates of parts can be compared.

    A part's update is that of a trainer whose batch is that part, from the same checkpoint."""
    common = PRECISIONS.get(setting, [])
    more = [] if common else setting.split()
    whole = ["--lca-cross-batch", "--update-freq=3", "--dropout=0", *more]
    trainer, batches = start(data, tmp_path, objective, *whole, common=common)
    parts = [
        start(data, tmp_path / str(number), objective, *whole, common=common)[0]
        for number in range(2)
    ]
    samples = batches[0]
    gradients_, moved, tokens = [], [], []
    for part, of_part in zip(parts, (samples[:1], samples[1:]), strict=True):
        before = parameters(part)
        part.train_step(of_part)
        scale = part.optimizer.optimizer.clip_coefficient
        gradients_.append([g / scale for g in gradients(part)])
        moved.append((before, parameters(part)))
        tokens.append(part.lca_recorder.rows[0][list(FACTS).index("predicted_tokens")])
    trainer.train_step(samples)
    share = tokens[0] / sum(tokens)
    expected = share * dot(gradients_[1], *moved[0]) + (1 - share) * dot(gradients_[0], *moved[1])
    found = trainer.optimizer.optimizer.allocations["cross_batch"][:, 0].sum().item()
    # Adam's first step hardly depends on the gradient's size, so that clipping changes little.
    assert found == pytest.approx(expected, rel=0.05 if common else 3e-3)


def test_a_batch_of_one_part_has_no_cross_validation(data, tmp_path):
    trainer, batches = start(data, tmp_path, "clm", "--lca-cross-batch", "--update-freq=5")
    for samples in batches:
        trainer.train_step(samples)
    assert [len(samples) for samples in batches] == [5, 5, 1]
    trainer.lca_recorder.close_part()
    (part,) = (tmp_path / "log").glob("part-*.parquet")
    names = [name for name in pq.read_schema(part).names if name.startswith("cross_batch/sum/")]
    found = pq.read_table(part).to_pandas()[names]
    assert found.notna().all(axis="columns").tolist() == [True, True, False]
    assert found.isna().all(axis="columns").tolist() == [False, False, True]


@pytest.mark.parametrize("objective", ARCHITECTURES)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_probe_measures_what_updates_change(data, tmp_path, objective, precision):
    common = PRECISIONS.get(precision, [])
    options = ["--lca-probe-every=3", "--lca-probe-tokens=100"]
    trainer, batches = start(data, tmp_path, objective, *options, common=common)
    for samples in batches[:4]:
        trainer.train_step(samples)
    rows = [dict(zip(FACTS, row, strict=False)) for row in trainer.lca_recorder.rows]
    probed = [row["probe_train/before"] is not None for row in rows]
    assert probed == [True, False, True, False]
    for name in ("train", "held_out"):
        fixed = trainer.lca_probe.batches[name]
        assert sum(batch["ntokens"] for batch in fixed) >= 90
        model = copy.deepcopy(trainer.lca_probe.model).eval()
        with torch.no_grad():
            losses = [trainer.criterion(model, batch)[:2] for batch in fixed]
        # The copy holds the parameters of the last probe, after the third update.
        expected = sum(loss for loss, _ in losses) / sum(size for _, size in losses)
        assert rows[2][f"probe_{name}/after"] == pytest.approx(expected.item(), rel=1e-6)
        for row in (rows[0], rows[2]):
            intervals = row[f"probe_{name}/intervals"]
            assert intervals in (2, 4, 8, 16, 32)
            assert abs(row[f"probe_{name}/residual"]) <= (1e-4 if intervals < 32 else 1e-3)
    assert rows[0]["dropout/before"] != rows[0]["probe_train/before"]


def test_the_probe_changes_nothing_of_the_training(data, tmp_path):
    plain, batches = start(data, tmp_path / "plain", "mt")
    probed, _ = start(data, tmp_path / "probed", "mt", "--lca-probe-every=1")
    for samples in batches[:3]:
        plain.train_step(samples)
        probed.train_step(samples)
    for one, other in zip(parameters(plain), parameters(probed), strict=True):
        assert torch.equal(one, other)


def test_steps_that_overflow_are_counted_but_are_no_updates(data, tmp_path, monkeypatch):
    """fp16's loss scale starts so high that the first gradients overflow."""
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)  # what fairseq then calls
    options = ["--fp16-init-scale=67108864", "--lca-cross-batch", "--update-freq=2"]
    trainer, batches = start(data, tmp_path, "clm", *options, common=PRECISIONS["fp16"])
    before, losses = parameters(trainer), []
    for samples in 4 * batches:
        trainer.train_step(samples)
        if not trainer.get_num_updates():
            losses.append(len(losses))
            assert all(torch.equal(a, b) for a, b in zip(before, parameters(trainer), strict=True))
    rows = [dict(zip(FACTS, row, strict=False)) for row in trainer.lca_recorder.rows]
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
    rows = trainer.lca_recorder.rows
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
    assert [row[0] for row in trainer.lca_recorder.rows] == [1]


def test_fp16_diverges_when_no_loss_scale_is_small_enough(data, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor: tensor)
    options = ["--fp16-init-scale=4", "--lr=1e30"]
    trainer, batches = start(data, tmp_path, "clm", *options, common=PRECISIONS["fp16"])
    with pytest.raises(ArithmeticError, match=f"^update 2: the gradient is not .*, {DIVERGED}"):
        for samples in 10 * batches:
            trainer.train_step(samples)
    assert [row[0] for row in trainer.lca_recorder.rows] == [1]


def test_the_loss_scale_does_not_change_the_allocation(data, tmp_path):
    """Scales are powers of two, so that but for underflow nothing is rounded otherwise."""
    found = []
    for scale in (16, 1024):
        options = [f"--fp16-init-scale={scale}", "--lca-cross-batch", "--update-freq=2"]
        folder = tmp_path / str(scale)
        trainer, batches = start(data, folder, "mt", *options, common=PRECISIONS["fp16"])
        for samples in batches[:2]:
            trainer.train_step(samples)
        found.append(trainer.optimizer.optimizer.allocations)
    for lag, allocation in found[0].items():
        magnitude = (2 * allocation[:, 1] - allocation[:, 0]).sum()
        assert (allocation[:, 0] - found[1][lag][:, 0]).abs().max() < 1e-2 * magnitude


def test_the_row_of_an_update_holds_what_fairseq_knows_of_it(data, tmp_path):
    trainer, batches = start(data, tmp_path, "clm")
    reference = copy.deepcopy(trainer.model)
    samples = batches[0]
    trainer.train_step(samples)
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(str(tmp_path / "checkpoint.pt"), {})
    (part,) = (tmp_path / "log").glob("part-*.parquet")
    row = pq.read_table(part).to_pylist()[0]
    torch.manual_seed(trainer.cfg.common.seed)  # fairseq seeds dropout by update
    utils.set_torch_seed(trainer.cfg.common.seed)
    logits, _ = reference(**samples[0]["net_input"])
    target = samples[0]["target"]
    loss = torch.nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]), target.reshape(-1), ignore_index=1
    )
    assert row["update"] == 1
    assert row["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert row["predicted_tokens"] == (target != 1).sum().item()
    assert row["learning_rate"] == pytest.approx(0.01)
    assert row["gradient_norm"] > 0
    assert (row["loss_scale"], row["overflows"]) == (1.0, 0)
    names = columns(trainer.lca_recorder.partition, "own_batch")
    recorded = values(
        trainer.lca_recorder.partition,
        "own_batch",
        trainer.optimizer.optimizer.allocations["own_batch"],
    )
    assert [row[name] for name in names] == pytest.approx(recorded, rel=1e-6)


SGD = dict(optimizer="lca_sgd")


@pytest.mark.parametrize(
    ("objective", "options"), [*((objective, {}) for objective in ARCHITECTURES), ("clm", SGD)]
)
def test_interrupted_training_continues_bit_for_bit(data, tmp_path, objective, options):
    more = ["--momentum=0.9"] if options else []
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


def without_time(trainer):
    position = list(FACTS).index("seconds")
    return [row[:position] + row[position + 1 :] for row in trainer.lca_recorder.rows]


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
