"""Hooks into fairseq's `Trainer`: attach the blocks, record updates, follow the checkpoints."""

import functools
from collections.abc import Callable

from fairseq.trainer import Trainer

from lca import LAGS
from lca.blocks import partition
from lca.optimizer import Adam
from lca.recorder import Recorder


def install() -> None:
    """Wrap the methods of `Trainer`; without `--optimizer lca_adam` they do what they did."""
    for hook in (
        _build_optimizer,
        load_checkpoint,
        save_checkpoint,
        clip_grad_norm,
        train_step,
        _reduce_and_log_stats,
    ):
        setattr(Trainer, hook.__name__, _wrap(getattr(Trainer, hook.__name__), hook))


def _wrap(method: Callable, hook: Callable) -> Callable:
    """Return `method`, or with LCA `hook(method, trainer, ...)`, which calls it."""

    @functools.wraps(method)
    def wrapped(trainer: Trainer, *args, **kwargs):
        if trainer.cfg.optimizer._name != "lca_adam":
            return method(trainer, *args, **kwargs)
        return hook(method, trainer, *args, **kwargs)

    return wrapped


def _build_optimizer(method: Callable, trainer: Trainer) -> None:
    _refuse_unsupported(trainer.cfg)
    method(trainer)
    _adam(trainer).attach(partition(trainer._model))


def load_checkpoint(method: Callable, trainer: Trainer, *args, **kwargs):
    """Begin the log, or resume it at the update that was restored."""
    extra_state = method(trainer, *args, **kwargs)
    if trainer.is_data_parallel_master:
        cfg, adam = trainer.cfg, _adam(trainer)
        about = {"precision": _precision(cfg), "seed": cfg.common.seed}
        about["beta1"] = adam.param_groups[0]["betas"][0]
        lags = [lag for lag in LAGS if lag != "second_batch" or adam.second_batch]
        trainer.lca_recorder = Recorder(cfg.optimizer.lca_log, adam.partition, about, lags)
        trainer.lca_recorder.resume(trainer.get_num_updates())
    trainer.lca_overflows = 0
    return extra_state


def save_checkpoint(method: Callable, trainer: Trainer, *args, **kwargs):
    """Close the part first: no checkpoint without the rows up to its update."""
    if trainer.is_data_parallel_master:
        trainer.lca_recorder.close_part()
    return method(trainer, *args, **kwargs)


def clip_grad_norm(method: Callable, trainer: Trainer, clip_norm: float):
    """Tell the optimizer what clipping does to the gradient, as LCA is of the unclipped one."""
    norm = method(trainer, clip_norm)
    clipped = clip_norm > 0 and float(norm) > clip_norm
    _adam(trainer).clip_coefficient = clip_norm / float(norm) if clipped else 1.0
    return norm


def train_step(method: Callable, trainer: Trainer, *args, **kwargs):
    """Count the steps that an overflow made fairseq skip: they are no updates."""
    before = trainer.get_num_updates()
    result = method(trainer, *args, **kwargs)
    if trainer.get_num_updates() == before:
        trainer.lca_overflows += 1
    return result


def _reduce_and_log_stats(
    method: Callable, trainer: Trainer, logging_outputs, sample_size, grad_norm=None
):
    """Record the update that fairseq is about to log. Validation has no gradient norm."""
    if grad_norm is not None and trainer.is_data_parallel_master:
        loss = sum(float(output["loss"]) for output in logging_outputs)
        adam = _adam(trainer)
        scaler = getattr(trainer.optimizer, "scaler", None)
        facts = {
            "update": trainer.get_num_updates(),
            "loss": loss / float(sample_size),
            "learning_rate": adam.last_lr,
            "gradient_norm": float(grad_norm),
            "predicted_tokens": int(sample_size),
            "loss_scale": scaler.loss_scale if scaler else 1.0,
            "overflows": trainer.lca_overflows,
        }
        trainer.lca_recorder.record(facts, adam.allocations)
        trainer.lca_overflows = 0
    return method(trainer, logging_outputs, sample_size, grad_norm)


def _adam(trainer: Trainer) -> Adam:
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
        "--fp16-adam-stats": cfg.optimizer.fp16_adam_stats,
    }
    for option, is_set in unsupported.items():
        if is_set:
            raise ValueError(f"lca_adam does not support {option}")
