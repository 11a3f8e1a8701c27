"""The sentences that a training leaves out because they are too long, counted beforehand."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..data.dropped import check_dropped
from ..jobs.job import tell
from ..trees import Tree
from .fairseq_options import sample_break
from .micro_batches import limiting_setting, longest_sentence


def is_left_out(
    data: Path, split: str, objective: str, languages: str, settings: Tree
) -> NDArray[np.bool_]:
    """Tell of each sentence or pair of a split whether it is too long: (sentences,) of bool.

    Text whose `sample_break` is none is cut into samples of equal size, whatever the sentences.
    """
    if objective == "mt":
        source, target = (_sizes(data, f"{split}.*.{side}.idx") for side in languages.split("-"))
        return np.maximum(source, target) > longest_sentence(settings)
    sizes = _sizes(data, f"{split}.idx")
    if sample_break(objective, settings) == "none":
        return np.zeros(len(sizes), dtype=bool)
    return sizes > _room(objective, settings)


def count_left_out(
    run: str, data: Path, objective: str, languages: str, settings: Tree, max_dropped: float
) -> dict[str, int]:
    """Return how many of how many training sentences are left out; say so if there are any.

    Raises `InputError` if they are more than the share `max_dropped`.
    """
    left_out = is_left_out(data, "train", objective, languages, settings)
    number, total = int(left_out.sum()), len(left_out)
    room = longest_sentence(settings) if objective == "mt" else _room(objective, settings)
    limit = f"{room} pieces (training.{limiting_setting(objective, settings)})"
    what = "pairs" if objective == "mt" else "sentences"
    if number:
        tell(f"{run}: {number} of {total} training {what} are longer than {limit} and left out")
    longer = {f"longer than {limit}": number}
    check_dropped(f"{run}: of the training {what}", longer, total, max_dropped)
    return {"sentences": number, "of": total}


def _room(objective: str, settings: Tree) -> int:
    """Return the pieces that a language model's sample holds: a masked model's begins with <s>."""
    context: int = settings["tokens_per_sample"]
    return context - (objective == "mlm")


def _sizes(data: Path, name: str) -> NDArray[np.int32]:
    """Return the pieces of each sentence of a dataset, with the end mark."""
    from fairseq.data.indexed_dataset import MMapIndexedDataset

    (index,) = data.glob(name)
    dataset = MMapIndexedDataset(str(index.with_suffix("")))
    return np.array(dataset.sizes)  # a copy: with the dataset go the pages they are in
