"""What updates change on batches that had no part in them, measured inside a fairseq run.

All is measured on a float32 copy of the model, which is made for one update and then forgotten:
neither mixed precision nor the state of the training has an influence, or is influenced.
"""

import copy
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import torch
from fairseq.trainer import Trainer
from torch import Tensor

from lca.blocks import Partition
from lca.integral import Integral, integrate
from lca.trapezoid import GROUPS, trapezoid

from .batches import SEED, Batch, Text

SEED_OF_TEXT = 1
"""Of the trapezoid: other text than what its sum is held against."""


INTERVALS = (2, 32)
"""Into which a probed update's step is divided: Simpson's rule, to as many as Lan et al. take."""

TOLERANCE = 1e-4
"""Of the change of the loss, in nats per token, that it may leave unaccounted for."""


class Loss(NamedTuple):
    """A batch's cross-entropy in nats, and over how many predicted tokens."""

    nats: float
    tokens: int


class End(NamedTuple):
    """What a step ended at, and what was found there."""

    values: list[Tensor]
    found: tuple[float, list[Tensor]]


class Copy:
    """A float32 copy of the model, at whatever parameters: flat float32, in the order of the
    partition."""

    def __init__(self, trainer: Trainer) -> None:
        self._model = copy.deepcopy(trainer._model).float()
        self._criterion = trainer.criterion
        self._parameters = [p for p in self._model.parameters() if p.requires_grad]

    @torch.no_grad()
    def losses(
        self, values: Sequence[Tensor], batches: Sequence[Batch], dropout: int | None = None
    ) -> list[Loss]:
        """Return the loss of each batch; with dropout, whose masks follow from the seed `dropout`,
        or without (None)."""
        return self._losses(values, batches, dropout)

    @torch.enable_grad()
    def loss_and_gradients(
        self, values: Sequence[Tensor], batches: Sequence[Batch], dropout: int | None = None
    ) -> tuple[float, list[Tensor]]:
        """Return the mean loss in nats per predicted token and its gradients, flat."""
        for parameter in self._parameters:
            parameter.grad = torch.zeros_like(parameter)
        loss, tokens = map(sum, zip(*self._losses(values, batches, dropout), strict=True))
        return loss / tokens, [p.grad.reshape(-1) / tokens for p in self._parameters]

    def _losses(
        self, values: Sequence[Tensor], batches: Sequence[Batch], dropout: int | None
    ) -> list[Loss]:
        """Return the losses; add up gradients if enabled."""
        with torch.no_grad():
            for parameter, value in zip(self._parameters, values, strict=True):
                parameter.copy_(value.view_as(parameter))
        self._model.train(dropout is not None)
        device = self._parameters[0].device
        found = []
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(dropout or 0)
            for batch in batches:
                nats, tokens, _ = self._criterion(self._model, batch)
                if torch.is_grad_enabled():
                    nats.backward()
                found.append(Loss(float(nats.detach()), int(tokens)))
        return found


class Probe:
    """Fixed batches of the training and, if there is any, held-out text.

    `tokens` is the size of those that updates are integrated on, and `loss_tokens` that of those of
    training text on which only the loss is measured, with dropout.
    """

    def __init__(
        self, trainer: Trainer, partition: Partition, tokens: int, loss_tokens: int
    ) -> None:
        self._partition = partition
        text = Text(trainer, trainer.cfg.dataset.train_subset)
        self._loss_batches = text.fixed(loss_tokens)
        self.loss_tokens = [text.predicted(batch) for batch in self._loss_batches]
        """Predicted tokens of the batches of `losses_with_dropout`."""
        self.batches = {"train": text.fixed(tokens)}
        with suppress(FileNotFoundError):
            self.batches["held_out"] = Text(trainer, "valid").fixed(tokens)
        # Where every update is probed, one step's end is the start of the next.
        self._is_continuous = trainer.cfg.optimizer.lca_probe_every == 1
        self._ends: dict[str, End] = {}

    def integrate(
        self, model: Copy, before: Sequence[Tensor], after: Sequence[Tensor]
    ) -> dict[str, Integral]:
        """Return the integrals of an update by set, without dropout."""

        def evaluate(name: str, values: Sequence[Tensor]) -> tuple[float, list[Tensor]]:
            return self._evaluate(name, model, values, values is after)

        settings = self._partition, INTERVALS, TOLERANCE
        return {
            name: integrate(partial(evaluate, name), before, after, *settings)
            for name in self.batches
        }

    def _evaluate(
        self, name: str, model: Copy, values: Sequence[Tensor], is_end: bool
    ) -> tuple[float, list[Tensor]]:
        """Return loss and gradients on a set: as remembered where the last step ended."""
        end = self._ends.get(name)
        if end and all(map(torch.equal, end.values, values)):
            return end.found
        found = model.loss_and_gradients(values, self.batches[name])
        if is_end and self._is_continuous:
            self._ends[name] = End([value.clone() for value in values], found)
        return found

    def losses_with_dropout(self, model: Copy, values: Sequence[Tensor]) -> list[Loss]:
        """Return the loss of each batch of training text; masks are the same at any values."""
        return model.losses(values, self._loss_batches, SEED)


class Trapezoid:
    """The trapezoidal rule (see `lca.trapezoid`) on about `tokens` of the training text.

    They are fixed, others than those of `Probe`, and in groups. Dropout is on, as in the loss that
    is trained on.
    """

    def __init__(self, trainer: Trainer, partition: Partition, tokens: int) -> None:
        self._partition = partition
        self.text = Text(trainer, trainer.cfg.dataset.train_subset)
        batches = self.text.fixed(tokens, SEED_OF_TEXT, GROUPS)
        self.groups = [batches[group::GROUPS] for group in range(GROUPS)]
        self.tokens = [sum(map(self.text.predicted, group)) for group in self.groups]
        """Predicted tokens of each group."""

    def measure(
        self, model: Copy, before: Sequence[Tensor], after: Sequence[Tensor]
    ) -> list[Integral]:
        """Return what a stride between these parameters did to the loss of each group."""

        def evaluate(group: int, values: Sequence[Tensor]) -> tuple[float, list[Tensor]]:
            return model.loss_and_gradients(values, self.groups[group], dropout=SEED + group)

        return trapezoid(evaluate, GROUPS, before, after, self._partition)
