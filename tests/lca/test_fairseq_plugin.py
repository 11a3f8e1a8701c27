"""LCA inside fairseq's own Trainer, against the gradients and parameters that it leaves behind."""

import copy
import json
import math
import sys

import pyarrow.parquet as pq
import pytest
import torch
from fairseq import utils

from lca.allocation import allocate
from lca.recorder import columns, values
from trainers import (
    ARCHITECTURES,
    PRECISIONS,
    dot,
    gradients,
    parameters,
    rows_of,
    start,
    write_data,
)


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
            whole = trainer.lca.recorder.rows[-1][3]  # the norm before clipping
            scale = (whole + 1e-6) / 0.05
            norm = torch.sqrt(sum((g.double() ** 2).sum() for g in gradient)).item()
            assert scale == pytest.approx(whole / norm, rel=1e-6)
        own = scale * dot(gradient, before, after)
        assert allocations["own_batch"][:, 0].sum().item() == pytest.approx(own, rel=1e-5)
        if moved_by_last:
            following = scale * dot(gradient, *moved_by_last)
            magnitude = scale * dot([g.abs() for g in gradient], *map_abs(*moved_by_last))
            found = allocations["next_batch"][:, 0].sum().item()
            assert found == pytest.approx(following, abs=2e-5 * magnitude)
        moved_by_last, before = (before, after), after
    assert [row[0] for row in trainer.lca.recorder.rows] == [1, 2, 3]


def map_abs(before, after):
    """Return (0, |after - before|), whose difference is the absolute displacement."""
    moved = [(b - a).abs() for a, b in zip(before, after, strict=True)]
    return [torch.zeros_like(m) for m in moved], moved


@pytest.mark.parametrize("objective", ARCHITECTURES)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_probe_measures_what_updates_change(data, tmp_path, objective, precision):
    common = PRECISIONS.get(precision, [])
    options = ["--lca-probe-every=3", "--lca-probe-tokens=100", "--lca-probe-loss-tokens=100"]
    trainer, batches = start(data, tmp_path, objective, *options, common=common)
    for samples in batches[:3]:
        trainer.train_step(samples)
    rows = rows_of(trainer)
    probed = [row["probe_train/before"] is not None for row in rows]
    assert probed == [True, False, True]
    model = model_of(trainer).eval()
    for name in ("train", "held_out"):
        fixed = trainer.lca.probe.batches[name]
        assert sum(batch["ntokens"] for batch in fixed) >= 90
        with torch.no_grad():
            losses = [trainer.criterion(model, batch)[:2] for batch in fixed]
        expected = sum(loss for loss, _ in losses) / sum(size for _, size in losses)
        assert rows[2][f"probe_{name}/after"] == pytest.approx(expected.item(), rel=1e-6)
        for row in (rows[0], rows[2]):
            intervals = row[f"probe_{name}/intervals"]
            assert intervals in (2, 4, 8, 16, 32)
            assert abs(row[f"probe_{name}/residual"]) <= (1e-4 if intervals < 32 else 1e-3)
    assert rows[0]["dropout/before"] != rows[0]["probe_train/before"]


@pytest.mark.parametrize(
    ("objective", "mode", "longest"),
    [("clm", "none", 20), ("clm", "complete", 18), ("clm", "eos", 9), ("mlm", "eos", 10)],
)
def test_a_sample_is_tokens_or_whole_sentences_or_one(data, tmp_path, objective, mode, longest):
    """Sentences have nine tokens, and a masked model's samples one more before them."""
    options = ("--tokens-per-sample=20", f"--sample-break-mode={mode}")
    trainer, batches = start(data, tmp_path, objective, *options)
    widths = [batch["net_input"]["src_tokens"].shape[1] for (batch,) in batches]
    assert max(widths) == longest
    assert trainer.train_step(batches[0]) is not None


def test_where_every_update_is_probed_one_step_starts_where_the_last_ended(
    data, tmp_path, monkeypatch
):
    def train(folder):
        options = ["--lca-probe-every=1", "--lca-probe-tokens=100", "--lca-probe-loss-tokens=100"]
        trainer, batches = start(data, folder, "clm", *options)
        probe, evaluated = trainer.lca.probe, []
        copy_of_model = vars(sys.modules[type(probe).__module__])["Copy"]
        evaluate = copy_of_model.loss_and_gradients
        monkeypatch.setattr(
            copy_of_model,
            "loss_and_gradients",
            lambda *given: evaluated.append(given) or evaluate(*given),
        )
        return trainer, batches, evaluated

    trainer, batches, evaluated = train(tmp_path / "once")
    numbers = []
    for samples in batches[:3]:
        trainer.train_step(samples)
        numbers.append(len(evaluated) - sum(numbers))
    intervals = [
        [row[f"probe_{name}/intervals"] for name in ("train", "held_out")]
        for row in rows_of(trainer)
    ]
    expected = [sum(row) for row in intervals]
    assert numbers == [expected[0] + 2, *expected[1:]]
    other, batches, _ = train(tmp_path / "anew")
    other.lca.probe._is_continuous = False
    for samples in batches[:3]:
        other.train_step(samples)
    seconds = trainer.lca.recorder.schema.names.index("seconds")
    for row, anew in zip(trainer.lca.recorder.rows, other.lca.recorder.rows, strict=True):
        assert row[:seconds] + row[seconds + 1 :] == anew[:seconds] + anew[seconds + 1 :]


def model_of(trainer):
    """Return a float32 copy of the model at the parameters that the optimizer has."""
    model = copy.deepcopy(trainer._model).float()
    parameters = trainer.optimizer.optimizer.values()
    with torch.no_grad():
        for parameter, value in zip(model.parameters(), parameters, strict=True):
            parameter.copy_(value.view_as(parameter))
    return model


@pytest.mark.parametrize("objective", ARCHITECTURES)
def test_the_loss_is_kept_batch_by_batch(data, tmp_path, objective):
    options = ["--lca-probe-every=2", "--lca-probe-loss-tokens=400"]
    trainer, batches = start(data, tmp_path, objective, *options)
    for samples in batches[:2]:
        trainer.train_step(samples)
    trainer.lca.close_part()
    (part,) = (tmp_path / "log").glob("part-*.parquet")
    tokens = json.loads(pq.read_schema(part).metadata[b"about"])["dropout_tokens"]
    first, second = pq.read_table(part).to_pylist()
    assert len(tokens) >= 30 and second["dropout/before_by_batch"] is None
    for row, when in ((first, "before"), (first, "after"), (second, "after")):
        by_batch = row[f"dropout/{when}_by_batch"]
        mean = sum(loss * size for loss, size in zip(by_batch, tokens, strict=True)) / sum(tokens)
        assert row[f"dropout/{when}"] == pytest.approx(mean, rel=1e-5)
        assert len(set(by_batch)) > 1


def test_fixed_masks_are_not_those_of_the_training(data, tmp_path):
    """What a masked language model predicts of a sentence depends on the epoch."""
    trainer, _ = start(data, tmp_path, "mlm", "--lca-trapezoid-every=1")
    text = trainer.lca.trapezoid.text
    trained = set()
    for epoch in range(1, 6):
        trained |= targets(text._batch(text._indices, epoch))
    found = [set().union(*map(targets, text.fixed(1100, seed))) for seed in (0, 1, 0)]
    for fixed in found:
        assert len(fixed) > 100  # twice sixty sentences, with other masks each time
        assert len(fixed - trained) > 0.5 * len(fixed)
    assert found[0] == found[2] != found[1]


def targets(batch):
    pairs = zip(batch["net_input"]["src_tokens"], batch["target"], strict=True)
    return {(tuple(tokens.tolist()), tuple(target.tolist())) for tokens, target in pairs}


@pytest.mark.parametrize("objective", ARCHITECTURES)
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_trapezoid_is_that_of_plain_autograd(data, tmp_path, objective, precision, monkeypatch):
    """Of a stride of two updates, for every block, head and group of text, with the same dropout at
    both ends."""
    monkeypatch.setattr("lca.trapezoid.DENSE", 1)
    monkeypatch.setattr("lca.trapezoid.LEAST", 1.0)  # not Simpson's rule
    options = ["--lca-trapezoid-every=2", "--lca-trapezoid-tokens=300"]
    trainer, batches = start(
        data, tmp_path, objective, *options, common=PRECISIONS.get(precision, [])
    )
    trainer.train_step(batches[0])
    models = [model_of(trainer)]
    trainer.train_step(batches[1])
    trainer.train_step(batches[2])
    models.append(model_of(trainer))
    moved = [b - a for a, b in zip(*(list(m.parameters()) for m in models), strict=True)]
    part = trainer.lca.recorder.partition
    expected, changes = [], []
    for number, batches_of_group in enumerate(trainer.lca.trapezoid.groups):
        losses, slopes = [], []
        for model in models:
            torch.manual_seed(number)
            model.train().zero_grad()
            found = [trainer.criterion(model, batch)[:2] for batch in batches_of_group]
            tokens = sum(tokens for _, tokens in found)
            assert tokens == trainer.lca.trapezoid.tokens[number]
            loss = sum(nats for nats, _ in found) / tokens
            loss.backward()
            losses.append(loss.item())
            slopes.append([p.grad.clone() for p in model.parameters()])
        mean = [(a + b) / 2 for a, b in zip(*slopes, strict=True)]
        expected.append(values(part, "trapezoid", allocate(mean, moved, part)))
        changes.append(losses[1] - losses[0])
    first, second, third = rows_of(trainer)
    assert [row["trapezoid/updates"] for row in (first, second, third)] == [1, None, 2]
    assert third["trapezoid/changes"] == pytest.approx(changes, abs=1e-5)
    found = torch.tensor([third[name] for name in columns(part, "trapezoid")]).T
    expected = torch.tensor(expected)
    assert len(found) == 8 and not torch.allclose(found[0], found[1], rtol=0.1)
    size = expected.abs().sum(dim=1).mean().item()
    assert size > 1e-4
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6 * size)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_clip_coefficient_is_what_fairseq_multiplies_by(data, tmp_path, precision):
    """Of a gradient so small that what fairseq adds to its norm, 1e-6, is one percent of it."""
    common = PRECISIONS.get(precision, [])
    trainer, batches = start(data, tmp_path, "clm", "--update-freq=1", common=common)
    trainer.train_step(batches[0])
    optimizer = trainer.optimizer.optimizer
    for parameter in (p for group in optimizer.param_groups for p in group["params"]):
        parameter.grad = torch.ones_like(parameter)
    if common:
        trainer.optimizer._needs_sync, trainer.optimizer._multiply_factor = False, 1.0
    size = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad *= 1e-4 / size**0.5
    trainer.clip_grad_norm(1e-5)
    factor = float(trainer.optimizer._multiply_factor) if common else 1.0
    clipped = factor * math.sqrt(sum((g.double() ** 2).sum().item() for g in gradients(trainer)))
    expected = 1e-5 / 1e-4 if precision == "fp16" else 1e-5 / 1.01e-4  # as fairseq has it
    assert optimizer.clip_coefficient == pytest.approx(clipped / 1e-4, rel=1e-5)
    assert optimizer.clip_coefficient == pytest.approx(expected, rel=1e-5)


def test_the_loss_scale_does_not_change_the_allocation(data, tmp_path):
    """Scales are powers of two, so that but for underflow nothing is rounded otherwise."""
    found = []
    for scale in (16, 1024):
        options = [f"--fp16-init-scale={scale}", "--update-freq=2"]
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
    names = columns(trainer.lca.recorder.partition, "own_batch")
    recorded = values(
        trainer.lca.recorder.partition,
        "own_batch",
        trainer.optimizer.optimizer.allocations["own_batch"],
    )
    assert [row[name] for name in names] == pytest.approx(recorded, rel=1e-6)
