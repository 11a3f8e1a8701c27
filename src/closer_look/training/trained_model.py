"""A finished model of fairseq: its loss on a split of its data, and its translations."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import sentencepiece
import torch
from fairseq import checkpoint_utils, utils
from fairseq.hub_utils import GeneratorHubInterface

from ..jobs.job import tell
from .fairseq_options import PLUGIN

SEED = 0
"""Of the masks: the same in runs with different seeds."""

MAX_TOKENS = 4096
"""Of a batch, unless a single sample has more: what a card of 16 GB holds with a beam of 5."""

LENGTH = {"max_len_a": 1.2, "max_len_b": 10}
"""Pieces of a translation at most: a of each source piece and b, as in fairseq's own examples."""


class Loss(NamedTuple):
    """A sum of cross-entropy in nats, and over how many predicted tokens."""

    nats: float
    tokens: int


class TrainedModel:
    """The model of a checkpoint, in float32 and without dropout, on a card where there is one."""

    def __init__(self, checkpoint: Path, data: Path) -> None:
        utils.import_user_module(Namespace(user_dir=str(PLUGIN)))  # as the training did
        overrides = {"data": str(data), "seed": SEED, "max_tokens": MAX_TOKENS, "bpe": None}
        (model,), self._cfg, self._task = checkpoint_utils.load_model_ensemble_and_task(
            [str(checkpoint)], overrides
        )
        self._device = "cuda" if torch.cuda.is_available() else "cpu"
        self._model = model.float().eval().to(self._device)

    @torch.no_grad()
    def loss(self, split: str) -> Loss:
        """Return the loss on a split of the data, by the criterion of the training.

        That is of all tokens, or of a masked model of those that a fixed mask hides.
        """
        self._task.load_dataset(split)
        longest = utils.resolve_max_positions(
            self._task.max_positions(), self._model.max_positions()
        )
        batches = self._task.get_batch_iterator(
            self._task.dataset(split),
            max_tokens=max(MAX_TOKENS, *np.atleast_1d(longest).tolist()),
            max_positions=longest,
            ignore_invalid_inputs=True,  # what is too long for the model, as in its training
            required_batch_size_multiple=1,  # with another, fairseq drops the last sentences
            disable_iterator_cache=True,
        ).next_epoch_itr(shuffle=False)
        criterion = self._task.build_criterion(self._cfg.criterion)
        nats, tokens = 0.0, 0
        for batch in batches:
            batch = utils.apply_to_sample(lambda tensor: tensor.to(self._device), batch)
            loss, size, _ = criterion(self._model, batch)
            nats += float(loss)
            tokens += int(size)
        return Loss(nats, tokens)

    def translate(self, sentences: Sequence[str], bpe: Path, beam: int) -> list[str]:
        """Return the best translation of each sentence, both as untokenised text.

        `bpe` is the SentencePiece model of the data.
        """
        processor = sentencepiece.SentencePieceProcessor(model_file=str(bpe))
        hub = GeneratorHubInterface(self._cfg, self._task, [self._model]).to(self._device)
        pieces = processor.encode(list(sentences), out_type=str)
        longest = hub.max_positions[0] - 1  # and the end of the sentence
        cut = sum(len(line) > longest for line in pieces)
        if cut:
            tell(
                f"{cut} of {len(pieces)} sentences have over {longest} pieces: the rest is cut off"
            )
        sources = [hub.binarize(" ".join(line[:longest])) for line in pieces]
        hypotheses = hub.generate(sources, beam, **LENGTH)
        return [processor.decode(hub.string(best["tokens"]).split()) for best, *_ in hypotheses]
