"""The fixed batches of a fairseq run, and what an update changes on them (see `lca.probe`)."""

import copy
from collections.abc import Iterator, Sequence

import torch
from fairseq import utils
from fairseq.trainer import Trainer
from torch import Tensor

from lca.blocks import Partition
from lca.probe import Integral, integrate

SEED = 0
"""Of the choice of batches and of dropout: the same in runs with different seeds."""


class Probe:
    """Integrates updates on fixed batches of the training and, if there are any, held-out text.

    Works on a float32 copy of the model, without dropout: neither mixed precision nor the state of
    the training has an influence, or is influenced. `tokens` is the size of the batches, and
    `loss_tokens` that of those of training text on which only the loss is measured, with dropout.
    """

    def __init__(
        self, trainer: Trainer, partition: Partition, tokens: int, loss_tokens: int
    ) -> None:
        self.partition = partition
        self.criterion = trainer.criterion
        self.model = copy.deepcopy(trainer._model).float()
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        train, held_out = trainer.cfg.dataset.train_subset, "valid"
        self.loss_batches = list(_fixed_batches(trainer, train, loss_tokens))
        self.batches = {"train": list(_fixed_batches(trainer, train, tokens))}
        if of_held_out := list(_fixed_batches(trainer, held_out, tokens)):
            self.batches["held_out"] = of_held_out

    def integrate(self, before: Sequence[Tensor], after: Sequence[Tensor]) -> dict[str, Integral]:
        """Return the integrals of an update by set, given its parameters, flat float32."""
        return {
            name: integrate(
                lambda values, batches=batches: self._loss_and_gradients(values, batches),
                before,
                after,
                self.partition,
            )
            for name, batches in self.batches.items()
        }

    @torch.no_grad()
    def loss_with_dropout(self, values: Sequence[Tensor]) -> float:
        """Return the mean loss on training text, each token with its own fixed dropout mask."""
        self._set(values)
        self.model.train()
        with torch.random.fork_rng():
            torch.manual_seed(SEED)
            return self._loss(self.loss_batches)[0]

    def _loss_and_gradients(
        self, values: Sequence[Tensor], batches: list[dict]
    ) -> tuple[float, list[Tensor]]:
        """Return the mean loss in nats per predicted token and its gradients, flat."""
        self._set(values)
        self.model.eval()
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        loss, tokens = self._loss(batches)
        return loss, [p.grad.reshape(-1) / tokens for p in self.parameters]

    def _loss(self, batches: list[dict]) -> tuple[float, int]:
        """Return the mean loss and the number of predicted tokens; add up gradients if enabled."""
        total, tokens = 0.0, 0
        for batch in batches:
            loss, size, _ = self.criterion(self.model, batch)
            if torch.is_grad_enabled():
                loss.backward()
            total += float(loss.detach())
            tokens += int(size)
        return total / tokens, tokens

    @torch.no_grad()
    def _set(self, values: Sequence[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value.view_as(parameter))


def _fixed_batches(trainer: Trainer, subset: str, tokens: int) -> Iterator[dict]:
    """Yield random batches of a subset, in all at least so many tokens; none if it is not there."""
    try:
        trainer.task.load_dataset(subset, epoch=1)
    except FileNotFoundError:
        return
    batches = trainer.task.get_batch_iterator(
        trainer.task.dataset(subset),
        max_tokens=trainer.cfg.dataset.max_tokens,
        max_positions=utils.resolve_max_positions(
            trainer.task.max_positions(), trainer._model.max_positions()
        ),
        ignore_invalid_inputs=True,
        seed=SEED,
        disable_iterator_cache=True,
    )
    for batch in batches.next_epoch_itr(shuffle=True):
        if tokens <= 0:
            return
        tokens -= batch["ntokens"]
        yield utils.move_to_cuda(batch) if trainer.cuda else batch
