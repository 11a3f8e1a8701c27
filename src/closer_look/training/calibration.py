"""How fast this machine trains: a few updates of random text, timed."""

import io
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

from lca.analysis.logs import facts
from lca.recorder import EXTRA_UPDATES, consolidate

from ..jobs.command import run
from ..trees import Tree
from .fairseq_options import PLUGIN, arguments

UPDATES = 6

MOST_TOKENS = 4096
"""Of an update that is timed; larger ones take as many times longer."""

SENTENCE = 32
"""Pieces of a sentence, with its end mark."""

LANGUAGES = {"mlm": "en", "clm": "en", "mt": "en-de"}


def seconds_per_update(objective: str, settings: Tree, vocabulary: int, threads: int = 1) -> float:
    """Return how long an update of such a training takes, on one card or on the CPU.

    By the median of `UPDATES`, without what a stride's end and a probe take besides. Raises
    `InputError` if such a training fails here.
    """
    tokens = min(settings["tokens_per_update"], MOST_TOKENS)
    off = {"every": 0, "tokens": 0}
    short = settings | {"tokens_per_update": tokens, "total_updates": UPDATES}
    short |= {"trapezoid": off, "probe": off | {"loss_tokens": 0}, "checkpoint_every": 10**6}
    short["tokens_per_sample"] = min(settings["tokens_per_sample"], tokens)
    with TemporaryDirectory() as name:
        folder = Path(name)
        _write_text(folder, vocabulary, (UPDATES + EXTRA_UPDATES) * tokens)
        with redirect_stdout(io.StringIO()):
            run(
                *("fairseq-train", folder, "--distributed-world-size=1", f"--user-dir={PLUGIN}"),
                *(f"--lca-log={folder}/log", f"--save-dir={folder}/state"),
                *arguments(objective, LANGUAGES[objective], short, tokens, _cards()),
                threads=threads,
            )
        consolidate(folder / "log", folder / "log.parquet", UPDATES)
        seconds = facts(folder / "log.parquet")["seconds"].diff().dropna()
    batches: float = settings["tokens_per_update"] / tokens
    return batches * float(median(seconds))


def can_train(settings: Tree) -> bool:
    """Return whether there is what such a training takes: a card, for fp16."""
    return settings.get("precision") != "fp16" or _cards() > 0


def _cards() -> int:
    """Return 1 if there is a card, else 0."""
    import torch

    return int(torch.cuda.is_available())


def _write_text(folder: Path, vocabulary: int, tokens: int) -> None:
    """Write at least so many tokens of random text as fairseq's data: a language, and a pair."""
    from fairseq.data import Dictionary
    from fairseq.data.indexed_dataset import MMapIndexedDataset, best_fitting_int_dtype

    dictionary = Dictionary()
    for number in range(vocabulary):
        dictionary.add_symbol(f"piece{number}")
    sentences = -(-tokens // SENTENCE)
    text = np.random.default_rng(1).integers(
        dictionary.nspecial, len(dictionary), (sentences, SENTENCE)
    )
    text[:, -1] = dictionary.eos()
    for name in ("train", "train.en-de.en", "train.en-de.de"):
        kind = best_fitting_int_dtype(len(dictionary))
        np.ascontiguousarray(text, kind).tofile(folder / f"{name}.bin")
        with MMapIndexedDataset.Index.writer(str(folder / f"{name}.idx"), kind) as index:
            index.write([SENTENCE] * sentences)
    for name in ("dict.txt", "dict.en.txt", "dict.de.txt"):
        dictionary.save(str(folder / name))
