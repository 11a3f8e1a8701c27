"""Hooks into fairseq's `Trainer`: attach the blocks, record updates, follow the checkpoints."""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from fairseq.trainer import Trainer
from omegaconf import DictConfig
from torch import Tensor

from .optimizer import NAMES
from .session import Session

Method = Callable[..., Any]
"""Of fairseq, which has no types."""

STATE = "lca"
"""What of a checkpoint's extra state is ours."""


def install() -> None:
    """Wrap the methods of `Trainer`; without an optimizer of `NAMES` they do what they did.

    What LCA keeps of a trainer is its `lca`, a `Session`.
    """
    for hook in (
        _build_optimizer,
        load_checkpoint,
        save_checkpoint,
        clip_grad_norm,
        train_step,
        _reduce_and_log_stats,
    ):
        setattr(Trainer, hook.__name__, _wrap(getattr(Trainer, hook.__name__), hook))


def _wrap(method: Method, hook: Method) -> Method:
    """Return `method`, or with LCA `hook(method, trainer, ...)`, which calls it."""

    @functools.wraps(method)
    def wrapped(trainer: Trainer, *args: Any, **kwargs: Any) -> Any:
        if trainer.cfg.optimizer._name not in NAMES:
            return method(trainer, *args, **kwargs)
        return hook(method, trainer, *args, **kwargs)

    return wrapped


def _build_optimizer(method: Method, trainer: Trainer) -> None:
    """Attach the blocks to every optimizer that fairseq builds; begin with the first."""
    _refuse_unsupported(trainer.cfg)
    method(trainer)
    trainer.optimizer.optimizer.attach(trainer._model)
    if not hasattr(trainer, "lca"):
        trainer.lca = Session(trainer)


def load_checkpoint(method: Method, trainer: Trainer, *args: Any, **kwargs: Any) -> Any:
    """Begin the log, or go on with it after the update that was restored."""
    extra_state = method(trainer, *args, **kwargs)
    _ = trainer.optimizer  # builds it, if nothing has yet
    trainer.lca.resume(trainer.get_num_updates(), (extra_state or {}).get(STATE))
    return extra_state


def save_checkpoint(
    method: Method, trainer: Trainer, filename: str, extra_state: dict[str, Any]
) -> Any:
    """Close the part first: no checkpoint without the rows up to its update. Keep what the log
    goes on with."""
    state = trainer.lca.close_part()
    return method(trainer, filename, extra_state | {STATE: state and tuple(state)})


def train_step(method: Method, trainer: Trainer, *args: Any, **kwargs: Any) -> Any:
    """Announce the update; count the steps that an overflow made fairseq skip."""
    before = trainer.get_num_updates()
    trainer.lca.before_update()
    result = method(trainer, *args, **kwargs)
    if trainer.get_num_updates() == before:
        trainer.lca.count_overflow()
    return result


def clip_grad_norm(method: Method, trainer: Trainer, clip_norm: float) -> Tensor:
    """Tell the optimizer how the gradient is scaled; LCA itself is of the unclipped one."""
    norm = _finite_norm(method, trainer, clip_norm)
    trainer.lca.optimizer.clip_coefficient = _clip_coefficient(trainer, norm, clip_norm)
    return norm


def _clip_coefficient(trainer: Trainer, norm: Tensor, clip_norm: float) -> float:
    """Return what fairseq multiplied the gradient by, as `utils.clip_grad_norm_` and, for fp16,
    `FP16Optimizer.clip_grad_norm` do."""
    if not clip_norm > 0:
        return 1.0
    if getattr(trainer.optimizer, "scaler", None):
        return float(clip_norm / norm) if norm > clip_norm else 1.0
    return float((clip_norm / (norm + 1e-6)).clamp(max=1))


def _reduce_and_log_stats(
    method: Method,
    trainer: Trainer,
    logging_outputs: list[dict[str, Any]],
    sample_size: Tensor | float,
    grad_norm: Tensor | None = None,
) -> Any:
    """Record the update that fairseq is about to log. Validation has no gradient norm."""
    if grad_norm is not None:
        loss = sum(float(output["loss"]) for output in logging_outputs)
        _check_record(trainer, loss)
        trainer.lca.record(loss / float(sample_size), int(sample_size), float(grad_norm))
    return method(trainer, logging_outputs, sample_size, grad_norm)


def _check_record(trainer: Trainer, loss: float) -> None:
    """Raise `ArithmeticError` where what is to be recorded of an update is not finite."""
    update = trainer.get_num_updates()
    _check_finite(update, "the loss", loss)
    for lag, allocation in trainer.lca.optimizer.allocations.items():
        change = float(allocation.float().sum())  # float32 is what the log holds
        _check_finite(update, f"the loss change ({lag})", change)


def _finite_norm(method: Method, trainer: Trainer, clip_norm: float) -> Tensor:
    """Return fairseq's gradient norm. Raises `ArithmeticError` where the training has diverged.

    Not what fairseq raises, a `FloatingPointError`: it would look for the layer with hooks that
    this PyTorch refuses, and end with "StopIteration". fp16's overflows pass: the step is skipped
    with a smaller loss scale, until there is none smaller.
    """
    update = trainer.get_num_updates() + 1
    try:
        norm: Tensor = method(trainer, clip_norm)
    except FloatingPointError:  # at the smallest loss scale
        norm = torch.tensor(math.nan)
    _check_finite(update, "the gradient", float(norm))
    return norm


def _check_finite(update: int, what: str, value: float) -> None:
    """Raise `ArithmeticError` if a value of an update is infinite or not a number."""
    if not math.isfinite(value):
        raise ArithmeticError(
            f"update {update}: {what} is not finite ({value}), the training has diverged; lower "
            "the learning rate (lr) or warm it up for longer (warmup_updates)"
        )


def _refuse_unsupported(cfg: DictConfig) -> None:
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
