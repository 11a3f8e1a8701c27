"""Batches drawn at random from the text of a fairseq run, apart from those it trains on."""

from typing import Any

import numpy as np
from fairseq import utils
from fairseq.data import data_utils
from fairseq.trainer import Trainer

Batch = dict[str, Any]
"""A sample as fairseq's `collater` returns it, which its models and criteria take."""

SEED = 0
"""Of fixed batches and of dropout on them: the same in runs with different seeds."""

BATCHES = 32
"""The least number of batches a loss is measured on: their scatter tells how certain it is."""

BATCH = 1024
"""Tokens of a fixed batch, at most about; so many that any card holds them in float32."""

MASKS = 2**20
"""Masks are drawn as in epochs from this one on, and from its multiples: no training gets there."""


class Text:
    """A subset of the data, from which batches are drawn: a copy that the training does not use.

    What depends on the epoch, as the masks of a masked language model do, is never what was trained
    on. Raises `FileNotFoundError` if there is no such subset.
    """

    def __init__(self, trainer: Trainer, subset: str) -> None:
        self._trainer, task = trainer, trainer.task
        in_use = task.datasets.get(subset)
        task.load_dataset(subset, epoch=1)
        self._dataset = task.datasets.pop(subset)
        if in_use is not None:
            task.datasets[subset] = in_use
        with data_utils.numpy_seed(SEED):
            indices = self._dataset.ordered_indices()
        longest = utils.resolve_max_positions(task.max_positions(), trainer._model.max_positions())
        indices = task.filter_indices_by_size(
            indices, self._dataset, longest, ignore_invalid_inputs=True
        )
        self._indices = np.sort(np.asarray(indices))
        some = np.random.default_rng(SEED).choice(self._indices, 1000)
        self._length = float(np.mean([self._dataset.num_tokens(index) for index in some]))
        """Tokens of a sample, on average."""

    @property
    def tokens(self) -> int:
        """About how many tokens the text has."""
        return round(self._length * len(self._indices))

    def fixed(self, tokens: int, seed: int = SEED, least: int = BATCHES) -> list[Batch]:
        """Return `least` batches or more with about `tokens` in all, by `seed` which.

        They are the same ones each time. Each sample comes once before one comes again.
        """
        number = max(least, -(-tokens // BATCH))
        size = self._samples(tokens / number)
        random, order = np.random.default_rng(seed), np.array([], int)
        batches = []
        for batch in range(number):
            while len(order) < size:
                order = np.concatenate([order, random.permutation(self._indices)])
            samples, order = order[:size], order[size:]
            batches.append(self._batch(samples, MASKS * (1 + seed) + batch))
        return batches

    def predicted(self, batch: Batch) -> int:
        """Return how many tokens a batch predicts: those of its target, if it has one."""
        if "target" not in batch:
            return int(batch["ntokens"])
        padding = getattr(self._trainer.criterion, "padding_idx", None)
        return int((batch["target"] != padding).sum())

    def _samples(self, tokens: float) -> int:
        """Return how many samples have about so many tokens."""
        return max(1, round(tokens / self._length))

    def _batch(self, samples: np.ndarray, epoch: int) -> Batch:
        self._dataset.set_epoch(epoch)
        batch: Batch = self._dataset.collater([self._dataset[int(index)] for index in samples])
        moved: Batch = utils.move_to_cuda(batch) if self._trainer.cuda else batch
        return moved
