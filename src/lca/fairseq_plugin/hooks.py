"""Hooks into fairseq's `Trainer`: attach the blocks, record updates, follow the checkpoints."""

import functools
import math
from collections.abc import Callable

from fairseq.trainer import Trainer

from lca import LAGS
from lca.allocation import check_total
from lca.blocks import partition
from lca.optimizer import LcaOptimizer
from lca.recorder import Recorder

from .optimizer import NAMES
from .probe import Probe


def install() -> None:
    """Wrap the methods of `Trainer`; without an optimizer of `NAMES` they do what they did."""
    for hook in (
        _build_optimizer,
        load_checkpoint,
        save_checkpoint,
        clip_grad_norm,
        train_step,
        _aggregate_logging_outputs,
        _reduce_and_log_stats,
    ):
        setattr(Trainer, hook.__name__, _wrap(getattr(Trainer, hook.__name__), hook))


def _wrap(method: Callable, hook: Callable) -> Callable:
    """Return `method`, or with LCA `hook(method, trainer, ...)`, which calls it."""

    @functools.wraps(method)
    def wrapped(trainer: Trainer, *args, **kwargs):
        if trainer.cfg.optimizer._name not in NAMES:
            return method(trainer, *args, **kwargs)
        return hook(method, trainer, *args, **kwargs)

    return wrapped


def _build_optimizer(method: Callable, trainer: Trainer) -> None:
    _refuse_unsupported(trainer.cfg)
    method(trainer)
    _optimizer(trainer).attach(partition(trainer._model))


def load_checkpoint(method: Callable, trainer: Trainer, *args, **kwargs):
    """Begin the log, or resume it at the update that was restored."""
    extra_state = method(trainer, *args, **kwargs)
    trainer.lca_overflows = 0
    trainer.lca_probe = None
    trainer.task.train_step = _counting(trainer.task.train_step, trainer)
    if trainer.is_data_parallel_master:
        cfg, optimizer = trainer.cfg, _optimizer(trainer)
        if cfg.optimizer.lca_probe_every:
            sizes = cfg.optimizer.lca_probe_tokens, cfg.optimizer.lca_probe_loss_tokens
            trainer.lca_probe = Probe(trainer, optimizer.partition, *sizes)
        about = {"precision": _precision(cfg), "seed": cfg.common.seed}
        groups = [lag for lag in LAGS if lag != "cross_batch" or cfg.optimizer.lca_cross_batch]
        if trainer.lca_probe:
            groups += [f"probe_{name}" for name in trainer.lca_probe.batches]
        trainer.lca_recorder = Recorder(cfg.optimizer.lca_log, optimizer.partition, about, groups)
        trainer.lca_recorder.resume(trainer.get_num_updates())
    return extra_state


def save_checkpoint(method: Callable, trainer: Trainer, *args, **kwargs):
    """Close the part first: no checkpoint without the rows up to its update."""
    if trainer.is_data_parallel_master:
        trainer.lca_recorder.close_part()
    return method(trainer, *args, **kwargs)


def train_step(method: Callable, trainer: Trainer, samples: list, *args, **kwargs):
    """Count micro-batches and their tokens, and the steps that an overflow made fairseq skip."""
    before = trainer.get_num_updates()
    trainer.lca_micro_batches, trainer.lca_tokens, trainer.lca_part_tokens = len(samples), [], 0
    _optimizer(trainer).part = None
    due = trainer.lca_probe and _is_due(before + 1, trainer.cfg.optimizer.lca_probe_every)
    trainer.lca_before = [value.clone() for value in _optimizer(trainer).values()] if due else None
    result = method(trainer, samples, *args, **kwargs)
    if trainer.get_num_updates() == before:
        trainer.lca_overflows += 1
    return result


def _counting(task_step: Callable, trainer: Trainer) -> Callable:
    """Return the task's step on a micro-batch; after half of them, the gradients are kept."""

    @functools.wraps(task_step)
    def counted(*args, **kwargs):
        result = task_step(*args, **kwargs)
        done = trainer.lca_tokens
        done.append(result[1])  # on the device still: nothing waits for it here
        if len(done) == trainer.lca_micro_batches // 2 and trainer.cfg.optimizer.lca_cross_batch:
            params = (p for p in trainer._model.parameters() if p.requires_grad)
            trainer.lca_part_tokens = sum(done)
            _optimizer(trainer).keep_part(p.grad for p in params)
        return result

    return counted


def _aggregate_logging_outputs(method: Callable, trainer: Trainer, *args, **kwargs):
    """Learn how many tokens all workers together predicted."""
    result = method(trainer, *args, **kwargs)
    trainer.lca_tokens = [result[1][0]]
    return result


def clip_grad_norm(method: Callable, trainer: Trainer, clip_norm: float):
    """Tell the optimizer how the gradient is scaled; LCA itself is of the unclipped one."""
    scale = _loss_scale(trainer)
    norm = _finite_norm(method, trainer, clip_norm)
    optimizer = _optimizer(trainer)
    clipped = clip_norm > 0 and float(norm) > clip_norm
    optimizer.clip_coefficient = clip_norm / float(norm) if clipped else 1.0
    of_part, tokens = float(trainer.lca_part_tokens), float(sum(trainer.lca_tokens))
    if 0 < of_part < tokens:
        optimizer.part.share = of_part / tokens
        optimizer.part.scale = optimizer.clip_coefficient / (tokens * scale)
    else:
        optimizer.part = None
    return norm


def _reduce_and_log_stats(
    method: Callable, trainer: Trainer, logging_outputs, sample_size, grad_norm=None
):
    """Record the update that fairseq is about to log. Validation has no gradient norm."""
    if grad_norm is not None and trainer.is_data_parallel_master:
        loss = sum(float(output["loss"]) for output in logging_outputs)
        optimizer = _optimizer(trainer)
        update = trainer.get_num_updates()
        _check_finite(update, "the loss", loss)
        for lag, allocation in optimizer.allocations.items():
            change = float(allocation.float().sum())  # float32 is what the log holds
            _check_finite(update, f"the loss change ({lag})", change)
        facts = {
            "update": trainer.get_num_updates(),
            "loss": loss / float(sample_size),
            "learning_rate": optimizer.last_lr,
            "gradient_norm": float(grad_norm),
            "predicted_tokens": int(sample_size),
            "loss_scale": _loss_scale(trainer),
            "overflows": trainer.lca_overflows,
        }
        allocations = dict(optimizer.allocations)
        if trainer.lca_before is not None:
            _probe(trainer, facts, allocations)
        trainer.lca_recorder.record(facts, allocations)
        trainer.lca_overflows = 0
    return method(trainer, logging_outputs, sample_size, grad_norm)


def _is_due(update: int, every: int) -> bool:
    """Tell whether an update is probed: the first, whose start is the untrained model, and then."""
    return update == 1 or update % every == 0


def _probe(trainer: Trainer, facts: dict, allocations: dict) -> None:
    """Integrate the update that was just made, and check that the blocks add up to the whole."""
    optimizer, before = _optimizer(trainer), trainer.lca_before
    after = optimizer.values()
    check_total(
        allocations["own_batch"], optimizer.gradients(), before, after, optimizer.clip_coefficient
    )
    for name, found in trainer.lca_probe.integrate(before, after).items():
        allocations[f"probe_{name}"] = found.allocation
        for what in ("before", "after", "residual", "intervals"):
            facts[f"probe_{name}/{what}"] = getattr(found, what)
    if facts["update"] == 1:
        facts["dropout/before"] = trainer.lca_probe.loss_with_dropout(before)
    facts["dropout/after"] = trainer.lca_probe.loss_with_dropout(after)


def _finite_norm(method: Callable, trainer: Trainer, clip_norm: float):
    """Return fairseq's gradient norm. Raises `ArithmeticError` where the training has diverged.

    Not what fairseq raises, a `FloatingPointError`: it would look for the layer with hooks that
    this PyTorch refuses, and end with "StopIteration". fp16's overflows pass: the step is skipped
    with a smaller loss scale, until there is none smaller.
    """
    update = trainer.get_num_updates() + 1
    try:
        norm = method(trainer, clip_norm)
    except FloatingPointError:  # at the smallest loss scale
        norm = math.nan
    _check_finite(update, "the gradient", float(norm))
    return norm


def _check_finite(update: int, what: str, value: float) -> None:
    """Raise `ArithmeticError` if a value of an update is infinite or not a number."""
    if not math.isfinite(value):
        raise ArithmeticError(
            f"update {update}: {what} is not finite ({value}), the training has diverged; lower "
            "the learning rate (lr) or warm it up for longer (warmup_updates)"
        )


def _loss_scale(trainer: Trainer) -> float:
    scaler = getattr(trainer.optimizer, "scaler", None)
    return scaler.loss_scale if scaler else 1.0


def _optimizer(trainer: Trainer) -> LcaOptimizer:
    """Return the optimizer itself, which mixed precision wraps once more."""
    return trainer.optimizer.optimizer


def _precision(cfg) -> str:
    return "fp16" if cfg.common.fp16 else "bf16" if cfg.common.bf16 else "fp32"


def _refuse_unsupported(cfg) -> None:
    """Raise `ValueError` for settings under which gradients or parameters are not whole float32."""
    unsupported = {
        "--ddp-backend fully_sharded": cfg.distributed_training.ddp_backend == "fully_sharded",
        "--ddp-backend slowmo": cfg.distributed_training.ddp_backend == "slowmo",
        "--zero-sharding": cfg.distributed_training.zero_sharding != "none",
        "--pipeline-model-parallel": cfg.distributed_training.pipeline_model_parallel,
        "--model-parallel-size": cfg.common.model_parallel_size > 1,
        "--memory-efficient-fp16": cfg.common.memory_efficient_fp16,
        "--memory-efficient-bf16": cfg.common.memory_efficient_bf16,
        "--amp": cfg.common.amp,
        "--tpu": cfg.common.tpu,
        "--use-bmuf": cfg.optimization.use_bmuf,
        "--sentence-avg (LCA is per predicted token)": cfg.optimization.sentence_avg,
        "--fp16-adam-stats": cfg.optimizer.get("fp16_adam_stats"),
    }
    for option, is_set in unsupported.items():
        if is_set:
            raise ValueError(f"{cfg.optimizer._name} does not support {option}")
