"""LCA inside fairseq's own Trainer, against the gradients and parameters that it leaves behind."""

import copy
import json
import math
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from fairseq import utils

from lca.allocation import allocate
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


def rows_of(trainer):
    names = trainer.lca.recorder.schema.names
    return [dict(zip(names, row, strict=True)) for row in trainer.lca.recorder.rows]


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
