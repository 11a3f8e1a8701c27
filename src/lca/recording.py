"""Recording a training: the log of any loop that steps one of our optimizers.

    with lca.record(model, optimizer, "log"):
        ...  # the training, in a plain loop or by anybody's trainer

All follows from the optimizer: each of its steps adds a row; its `state_dict()`, of which a
checkpoint is made, first writes the rows up to there; and after `load_state_dict()` the log goes on
at the update that was restored. Hence nobody's loop has to know of it.

Given a function to the loss of a batch and a sample of batches, the path is followed on some of
them (see `trapezoid`), and the loss of all of them is measured, which the allocations are to
explain. Neither parameters nor gradients of the training are touched by that, and random numbers
are drawn as without it.
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from . import LAGS
from .blocks import Partition
from .clipping import Clipping, listened
from .integral import Integral
from .optimizers import LcaOptimizer
from .placement import trainable, unwrapped
from .recorder import EXTRA_UPDATES, Recorder, consolidate
from .trapezoid import GROUPS, Stride, Strides, trapezoid

ROWS = 1000
"""Rows that are kept in memory at most, where no checkpoint writes them."""

SEED = 0
"""Of dropout on the sample: the same masks each time."""

LossOf = Callable[[nn.Module, object], Tensor]
"""From the model and a batch to the mean loss that is trained on, such as in nats per token."""


class Recording:
    """The log of a training in `folder`, whose parts `close` makes into `log.parquet` there.

    `optimizer` is one of `lca.optimizers` that holds the parameters of `model`; it is attached to
    `blocks`, those that it has, or those of the model. Of N updates, the log has N - 1: the
    gradient of the last completes the one before.

    `loss_of` and `sample`: a function to the loss of a batch, and at least 20 batches of the
    training data, all of about one size, for error bars. With them, the trapezoidal rule follows
    the path in strides of at most `trapezoid_every` updates, on 8 batches of the sample, and the
    loss of the whole sample is measured each `loss_every` updates, and until then at the first, the
    second, the fourth and so on. If `updates`, how many there will be, is given, both are done at
    the end as well, and no more after it. `about`: facts to be kept in the log.

    In a `with` block, the log is closed at the end; meanwhile, what clips gradients by their norm,
    as trainers do with `torch.nn.utils.clip_grad_norm_`, says by how much, so that the allocations
    are of the whole gradient; clipping by value, which cannot be undone, raises `RuntimeError`.
    After an exception, the parts stay: a training that goes on from a checkpoint goes on with the
    log.

    Of data-parallel workers, the first records. Raises `FileExistsError` if the log is already
    there.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: LcaOptimizer,
        folder: str | Path,
        loss_of: LossOf | None = None,
        sample: Iterable[Any] = (),
        *,
        trapezoid_every: int = 64,
        loss_every: int = 1000,
        updates: int | None = None,
        about: dict[str, Any] | None = None,
        blocks: Partition | None = None,
    ) -> None:
        self.log = Path(folder) / "log.parquet"
        if self.log.exists():
            raise FileExistsError(f"{self.log}: exists; choose another folder, or remove it")
        if updates is not None and updates <= EXTRA_UPDATES:
            raise ValueError(
                f"updates is {updates}, but must be more than {EXTRA_UPDATES}; leave it out if you "
                "do not know"
            )
        if trapezoid_every < 1 or loss_every < 1:
            raise ValueError("trapezoid_every and loss_every are numbers of updates, at least 1")
        sample = list(sample)
        if (loss_of is None) != (len(sample) == 0):
            raise ValueError("loss_of needs a sample of batches, and a sample needs loss_of")
        _check_optimizer(optimizer)
        optimizer.attach(model, blocks or optimizer.given_blocks)
        assert optimizer.partition is not None
        self._optimizer, self._partition = optimizer, optimizer.partition
        self._loss = _SampleLoss(model, loss_of, sample) if loss_of else None
        self._trapezoid_every, self._loss_every = trapezoid_every, loss_every
        self._total = updates - EXTRA_UPDATES if updates else None
        groups = [*LAGS, "trapezoid"] if self._loss else list(LAGS)
        self._groups = min(GROUPS, len(sample))
        sizes = {"dropout_tokens": [1] * len(sample), "trapezoid_tokens": [1] * self._groups}
        about = (sizes if sample else {}) | (about or {})
        self._recorder = Recorder(folder, optimizer.partition, about, groups)
        self._is_resumed = False
        self._before: list[Tensor] | None = None
        self.clipping = Clipping(optimizer)
        optimizer.is_recorded = True
        self._handles = [
            optimizer.register_step_pre_hook(lambda *_: self._before_update()),
            optimizer.register_step_post_hook(lambda *_: self._after_update()),
            optimizer.register_state_dict_pre_hook(lambda *_: self._recorder.close_part()),
            optimizer.register_load_state_dict_post_hook(lambda *_: self._forget()),
        ]

    def __enter__(self) -> Self:
        """Listen to what clips gradients."""
        self._listening = listened(self.clipping)
        self._listening.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the log; after an exception, leave its parts."""
        self._listening.__exit__(None, None, None)
        if kind is None:
            self.close()
        else:
            self.stop()

    @property
    def updates(self) -> int:
        """How many updates are recorded, also before a restart: the optimizer's state knows."""
        recorded: int = self._optimizer.param_groups[0].get("lca_updates", 0)
        return recorded

    def stop(self) -> None:
        """Record no more; the rows since the last checkpoint are lost."""
        for handle in self._handles:
            handle.remove()
        self._optimizer.is_recorded = False

    def close(self) -> Path:
        """Write the rest, consolidate the log, and return its path."""
        self.stop()
        if not self._is_first_worker():
            return self.log
        self._recorder.close_part()
        self._optimizer.param_groups[0].pop("lca_stride", None)
        updates = self._optimizer.param_groups[0].pop("lca_updates", 0)
        consolidate(self._recorder.folder, self.log, updates - EXTRA_UPDATES)
        return self.log

    @staticmethod
    def _is_first_worker() -> bool:
        """Tell whether this worker records: of several, the first."""
        workers = torch.distributed
        return not (workers.is_available() and workers.is_initialized() and workers.get_rank())

    def _forget(self) -> None:
        self._is_resumed = False

    def _before_update(self) -> None:
        """Begin or go on with the log; keep the parameters that training begins with."""
        if not self._is_first_worker():
            return
        if self._optimizer.partition is not self._partition:
            raise RuntimeError("the optimizer has other blocks than the log: begin another log")
        self.clipping.check()
        if not self._is_resumed:
            self._recorder.resume(self.updates)
            self._strides = Strides(self._trapezoid_every, self._total)
            if not self.updates or "lca_stride" not in self._optimizer.param_groups[0]:
                self._begin_stride(self.updates)
            self._is_resumed = True
        update = self.updates + 1
        is_within = self._total is None or update <= self._total  # as the strides are
        self._is_loss_due = bool(self._loss and is_within) and (
            update == self._total or is_loss_due(update, self._loss_every)
        )
        if self._is_loss_due and update == 1:
            self._before = [value.clone() for value in self._optimizer.values()]

    def _after_update(self) -> None:
        """Record the update that was just made, measured if it is due."""
        if not self._is_first_worker():
            return
        optimizer, update = self._optimizer, self.updates + 1
        allocations = {name: values.cpu() for name, values in optimizer.allocations.items()}
        self._refuse_not_finite(update, allocations)
        norm = self.clipping.norm
        facts: dict[str, Any] = {
            "update": update,
            "learning_rate": optimizer.last_lr,
            "gradient_norm": None if norm is None else float(norm),
        }
        if self._is_loss_due:
            facts |= self._losses()
        if self._loss and self._strides.end_at(update):
            self._end_stride(facts, allocations)
        self._recorder.record(facts, allocations)
        optimizer.param_groups[0]["lca_updates"] = update
        self._before = None
        self.clipping.forget()
        if update % ROWS == 0:
            self._recorder.close_part()

    def _refuse_not_finite(self, update: int, allocations: dict[str, Tensor]) -> None:
        """Raise `FloatingPointError` for the first value that is not finite."""
        partition = self._optimizer.partition
        assert partition is not None  # or there would have been no step
        for name, values in allocations.items():
            bad = (~torch.isfinite(values).all(dim=-1)).nonzero()
            if len(bad):
                block = partition.blocks[partition.owners[int(bad[0, -1])]].name
                raise FloatingPointError(
                    f"update {update}: {name} of {block} is not finite; it is not recorded"
                )

    def _losses(self) -> dict[str, Any]:
        """Return the loss of the sample after the update, and before it if it is the first.

        Raises `FloatingPointError` if it is not finite.
        """
        assert self._loss is not None
        facts: dict[str, Any] = {}
        for when, values in (("before", self._before), ("after", self._optimizer.values())):
            if values is not None:
                losses = self._loss.losses(values)
                if not all(map(math.isfinite, losses)):
                    raise FloatingPointError(
                        f"update {self.updates + 1}: the loss of the sample is not finite"
                    )
                facts[f"dropout/{when}"] = math.fsum(losses) / len(losses)
                facts[f"dropout/{when}_by_batch"] = losses
        return facts

    def _begin_stride(self, after: int) -> None:
        """Begin a stride after an update, where checkpoints find it."""
        if self._loss:
            stride = Stride.begin(after, self._optimizer.values())
            self._optimizer.param_groups[0]["lca_stride"] = tuple(stride)

    def _end_stride(self, facts: dict[str, Any], allocations: dict[str, Tensor]) -> None:
        """Add what the stride did that this update ends, and begin the next."""
        loss, partition = self._loss, self._optimizer.partition
        assert loss is not None and partition is not None
        stride = Stride(*self._optimizer.param_groups[0]["lca_stride"])

        def measure(before: Sequence[Tensor], after: Sequence[Tensor]) -> list[Integral]:
            return trapezoid(loss.with_gradients, self._groups, before, after, partition)

        values = self._optimizer.values()
        found, allocations["trapezoid"] = stride.end(facts["update"], values, measure)
        self._refuse_not_finite(facts["update"], {"trapezoid": allocations["trapezoid"]})
        facts.update(found)
        self._begin_stride(facts["update"])


def is_loss_due(update: int, every: int) -> bool:
    """Tell whether the loss of the sample is measured at an update: one in `every`.

    Before the first of these, at powers of two: a short training is to be checked, too.
    """
    return update % every == 0 or (update < every and update.bit_count() == 1)


def _check_optimizer(optimizer: object) -> None:
    """Raise `TypeError` for one that does not measure, `RuntimeError` for one in use."""
    if not isinstance(optimizer, LcaOptimizer):
        kind = type(optimizer).__name__
        raise TypeError(f"LCA needs an optimizer such as lca.AdamW in place of this {kind}")
    if optimizer.is_recorded:
        raise RuntimeError("this optimizer is being recorded already")


class _SampleLoss(nn.Module):
    """The loss of the sample's batches, at any values of the parameters."""

    def __init__(self, model: nn.Module, loss_of: LossOf, sample: Sequence[Any]) -> None:
        super().__init__()
        self.model = unwrapped(model)
        self._loss_of, self._sample = loss_of, sample
        self._trained = trainable(model)

    def forward(self, batch: object, inputs: Sequence[Tensor] = ()) -> Any:
        """Return the loss and its gradients of the `inputs`, None where it does not depend on one.

        The gradients are taken while `functional_call` has the parameters replaced: gradient
        checkpointing computes activations once more then, which would be of others afterwards.
        """
        loss = self._loss_of(self.model, batch)
        return loss, torch.autograd.grad(loss, inputs, allow_unused=True) if inputs else ()

    def losses(self, values: Sequence[Tensor]) -> list[float]:
        """Return the loss of each batch."""
        with torch.no_grad(), self._seeded(SEED):
            state = self._state(values)
            return [float(functional_call(self, state, (batch,))[0]) for batch in self._sample]

    def with_gradients(self, batch: int, values: Sequence[Tensor]) -> tuple[float, list[Tensor]]:
        """Return a batch's loss and its gradients, flat.

        Raises `ValueError` if `loss_of` did not use the model that it was given.
        """
        with torch.enable_grad(), self._seeded(SEED + batch):
            state = self._state([value.detach().requires_grad_() for value in values])
            inputs = [state[f"model.{name}"] for name in self._trained]
            loss, found = functional_call(self, state, (self._sample[batch], inputs))
        if all(gradient is None for gradient in found):
            raise ValueError("loss_of(model, batch) does not depend on the model that it is given")
        return float(loss.detach()), [
            torch.zeros_like(value) if gradient is None else gradient.reshape(-1)
            for value, gradient in zip(values, found, strict=True)
        ]

    def _state(self, values: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return parameters of these values, and copies of the buffers.

        Raises `RuntimeError` if the model has others than when the recording began.
        """
        now = dict(self.model.named_parameters())
        for name, parameter in self._trained.items():
            if now.get(name) is not parameter:
                raise RuntimeError(f"{name}: is another parameter than when the recording began")
        buffers = {f"model.{name}": b.clone() for name, b in self.model.named_buffers()}
        pairs = zip(self._trained.items(), values, strict=True)
        return buffers | {f"model.{name}": value.view(p.shape) for (name, p), value in pairs}

    @contextmanager
    def _seeded(self, seed: int) -> Iterator[None]:
        """Draw random numbers of a seed, without an effect on those of the training."""
        device = next(self.model.parameters()).device
        states = random.getstate(), np.random.get_state()
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            random.seed(seed)
            np.random.seed(seed)
            try:
                yield
            finally:
                random.setstate(states[0])
                np.random.set_state(states[1])


record = Recording
"""`with lca.record(model, optimizer, folder, ...):` records the training in the block."""
