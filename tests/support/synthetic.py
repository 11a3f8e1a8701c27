"""Synthetic runs: logs in the recorder's format, of any size, that look like the paper's.

Contributions have the paper's shapes over the layers; they fall over the updates as a power of
time, later in later layers, and are noisy. Everything follows from the seed.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from lca.blocks import Block, Partition
from lca.recorder import FACTS, FORMAT, ROWS, columns
from lca.trapezoid import GROUPS as GROUPS_OF_TEXT
from lca.trapezoid import Strides

ATTENTION = ("key", "query", "value", "out")
STACKS = {"mlm": ["encoder"], "clm": ["decoder"], "mt": ["encoder", "decoder"]}
LOSS = {"mlm": (10.5, 2.6), "clm": (10.5, 3.4), "mt": (10.5, 2.1)}
"""Before training and in the end, in nats per predicted token."""

AT_ONCE = 10_000  # updates made up at a time
EVERY = 8  # updates of a stride of the trapezoid, in the end
GROUP_TOKENS = [900 + 20 * number for number in range(GROUPS_OF_TEXT)]
BATCH_TOKENS = [600 + 25 * (number % 8) for number in range(32)]
"""Of the text on which the loss is measured with dropout: tokens that each batch predicts."""
BY_BATCH = ("dropout/before_by_batch", "dropout/after_by_batch")


class Character(NamedTuple):
    """What a group of the log's values finds: a multiple of the true change, and noise."""

    share: float
    noise: float


GROUPS = {
    "own_batch": Character(4.5, 0.9),
    "next_batch": Character(0.75, 2.0),
}
TRAPEZOID = Character(0.97, 0.3)
PROBES = {"probe_train": Character(1.0, 0.2), "probe_held_out": Character(0.9, 0.2)}

LANGUAGES = ("en", "de", "fi", "et")
RUNS = [
    *(("europarl", objective, code) for objective in ("mlm", "clm") for code in LANGUAGES),
    *(("europarl", "mt", f"en-{code}") for code in LANGUAGES[1:]),
    *(("europarl", "mt", f"{code}-en") for code in LANGUAGES[1:]),
    *(("wmt18", *run) for run in (("mt", "en-de"), ("mlm", "de"), ("clm", "de"))),
]
"""Corpus, objective and languages of seventeen runs."""


def facets(number: int) -> dict:
    """Return the facets of the run with this number (from 0); after seventeen come new seeds."""
    seed, index = divmod(number, len(RUNS))
    names = ("corpus", "objective", "languages")
    return dict(zip(names, RUNS[index], strict=True)) | {"variant": "base", "seed": seed + 1}


def blocks(
    objective: str, layers: int = 12, heads: int = 8, width: int = 512, vocabulary: int = 32000
) -> pd.DataFrame:
    """Return the table of blocks of a model as `lca.blocks.Partition.table` does."""
    stacks = STACKS[objective]
    rows = []
    for stack in stacks:
        rows.append((stack, 0, "embeddings", 1, vocabulary * width))
        for layer in range(1, layers // len(stacks) + 1):
            crosses = objective == "mt" and stack == "decoder"
            names = [*ATTENTION, *(f"cross_{name}" for name in ATTENTION if crosses)]
            rows += [(stack, layer, name, heads, width**2) for name in names]
            rows += [(stack, layer, name, 1, 4 * width**2) for name in ("w1", "w2")]
            rows += [(stack, layer, "biases", 1, 9 * width), (stack, layer, "norms", 1, 4 * width)]
        rows.append((stack, 0, "norms", 1, 2 * width))
    rows.append((stacks[-1], 0, "output", 1, vocabulary * width))
    table = pd.DataFrame(rows, columns=["stack", "layer", "component", "heads", "elements"])
    names = table["stack"] + "." + table["layer"].astype(str) + "." + table["component"]
    table.insert(0, "name", names)
    return table


def write_log(
    path: Path, objective: str, updates: int, seed: int = 1, probe_every: int = 0, **size: int
) -> None:
    """Write a log of `updates` rows; `size` is passed to `blocks`.

    The first and every `probe_every`-th update are probed (0: none).
    """
    random = np.random.default_rng(seed)
    table = blocks(objective, **size)
    groups = GROUPS | (PROBES if probe_every else {})
    schema = _schema(table, groups)
    table = table.assign(**_traits(table, objective, random))
    strides = Strides(EVERY, updates)
    ends = [update for update in range(1, updates + 1) if strides.end_at(update)]
    lengths = np.zeros(updates, int)
    lengths[np.array(ends) - 1] = np.diff(ends, prepend=0)
    with pq.ParquetWriter(path, schema, **FORMAT) as writer:
        for start in range(0, updates, AT_ONCE):
            update = np.arange(start + 1, min(start + AT_ONCE, updates) + 1)
            is_probed = (update == 1) | (update % probe_every == 0) if probe_every else update < 0
            values = _facts(update, updates, is_probed, objective, random)
            of_strides = lengths[update - 1]
            values["trapezoid/updates"] = pa.array(of_strides, mask=of_strides == 0)
            masks = dict.fromkeys(PROBES, ~is_probed)
            changes = np.zeros((len(update), GROUPS_OF_TEXT))
            for block in table.itertuples():
                whole, *of_heads = _strides_of(block, update, of_strides, updates, random)
                changes += whole[1]
                for key, by_group in (whole, *of_heads):
                    values[f"trapezoid/{key}"] = _lists(by_group, of_strides)
                for group, character in groups.items():
                    for key, row in _allocation(block, character, update, updates, random):
                        values[f"{group}/{key}"] = pa.array(row, mask=masks.get(group))
            values["trapezoid/changes"] = _lists(changes, of_strides)
            arrays = [pa.array(values[field.name], field.type) for field in schema]
            writer.write_table(pa.Table.from_arrays(arrays, schema=schema), row_group_size=ROWS)


def completeness(run: dict, updates: int, points: int = 25) -> pd.DataFrame:
    """Return the table `completeness` of a run with the facets `run`."""
    update = np.linspace(0, updates, points).round().astype(int)
    loss = _loss(update, updates, run["objective"])
    shares = {"own_batch": 4.5, "next_batch": 0.75, "trapezoid": 0.97}
    frames = [
        pd.DataFrame({"update": update, "loss": loss, "change": scale * (loss - loss[0])}).assign(
            reference=reference,
            estimator=estimator,
            change_se=0.005 * (loss[0] - loss),
            lca=share * (loss - loss[0]),
            lca_se=0.02 * share * (loss[0] - loss),
        )
        for reference, scale in (("dropout", 1), ("train", 1.03), ("held_out", 0.95))
        for estimator, share in shares.items()
    ]
    columns = [*run, "reference", "estimator", "update"]
    columns += ["loss", "change", "change_se", "lca", "lca_se"]
    return pd.concat(frames, ignore_index=True).assign(**run)[columns]


def probes(run: dict, updates: int, number: int = 20, **size: int) -> pd.DataFrame:
    """Return the table `probes` of a run with the facets `run`; `size` is passed to `blocks`."""
    random = np.random.default_rng(1)
    table = blocks(run["objective"], **size)
    table = table.assign(**_traits(table, run["objective"], random))
    update = np.linspace(updates / number, updates, number).round()
    frames = []
    for name, share in (("train", 1.0), ("held_out", 0.9)):
        for block in table.itertuples():
            noise = random.normal(share, 0.1, number)
            labels = {"set": name, "stack": block.stack, "layer": block.layer}
            lca = -_course(block, update, updates) * noise
            frames.append(pd.DataFrame({"update": update.astype(int), "lca": lca}).assign(**labels))
            frames[-1]["component"] = block.component
    columns = [*run, "set", "update", "stack", "layer", "component", "lca"]
    return pd.concat(frames, ignore_index=True).assign(**run)[columns]


def _schema(table: pd.DataFrame, groups: dict) -> pa.Schema:
    """Return the schema that `lca.recorder.Recorder` gives its parts."""
    rows = table.drop(columns=["name", "elements"]).itertuples(index=False)
    partition = Partition(tuple(Block(*row) for row in rows), (), ())
    names = [name for group in groups for name in columns(partition, group)]
    fields = FACTS | dict.fromkeys(names, pa.float32())
    fields |= dict.fromkeys(columns(partition, "trapezoid"), pa.list_(pa.float32()))
    about = {"precision": "fp32", "dropout_tokens": BATCH_TOKENS, "trapezoid_tokens": GROUP_TOKENS}
    metadata = {"blocks": json.dumps(table.to_dict("records")), "about": json.dumps(about)}
    return pa.schema(list(fields.items()), metadata)


def _facts(
    update: np.ndarray, updates: int, is_probed: np.ndarray, objective: str, random
) -> dict[str, np.ndarray]:
    """Return what is recorded besides LCA."""
    number = len(update)
    facts = {
        "update": update,
        "loss": _loss(update - 1, updates, objective) + 0.05 * random.standard_normal(number),
        "learning_rate": 5e-4 * np.minimum(update / (0.064 * updates), 1 - update / updates),
        "gradient_norm": random.lognormal(0, 0.3, number),
        "predicted_tokens": np.full(number, 32000),
        "loss_scale": np.full(number, 128.0),
        "overflows": np.zeros(number),
        "seconds": 1.6e9 + 1.4 * update,
    }
    for name, offset in (("dropout", 0.0), ("probe_train", -0.1), ("probe_held_out", 0.1)):
        before = offset + _loss(update - 1, updates, objective)
        facts[f"{name}/before"] = pa.array(before, mask=~is_probed)
        facts[f"{name}/after"] = pa.array(
            offset + _loss(update, updates, objective), mask=~is_probed
        )
    shares = np.random.default_rng(0).normal(0, 0.02, len(BATCH_TOKENS))  # of a batch in the fall
    shares -= np.average(shares, weights=BATCH_TOKENS)
    first = _loss(0, updates, objective)
    for name, done in zip(BY_BATCH, (update - 1, update), strict=True):
        losses = _loss(done, updates, objective)[:, None]
        losses = losses + shares * (losses - first)
        rows = zip(losses, is_probed, strict=True)
        facts[name] = [list(row) if probed else None for row, probed in rows]
    for name in PROBES:
        facts[f"{name}/residual"] = pa.array(np.full(number, 1e-5), mask=~is_probed)
        facts[f"{name}/intervals"] = pa.array(np.ones(number, int), mask=~is_probed)
    return facts


def _loss(update: np.ndarray, updates: int, objective: str) -> np.ndarray:
    """Return the loss after so many updates."""
    first, last = LOSS[objective]
    return last + (first - last) * (0.02 * updates / (update + 0.02 * updates)) ** 0.6


def _traits(table: pd.DataFrame, objective: str, random) -> dict[str, np.ndarray]:
    """Return of each block its `contribution` in nats, its `noise` and the `delay` of its course.

    Attention is U-shaped over the layers (masked, and the encoder of translation) or cup and
    handle; the feed-forward matrices rise.
    """
    depth = table["layer"] / table.groupby("stack")["layer"].transform("max")  # up to 1
    component = table["component"].str.removeprefix("cross_")
    is_attention, is_encoder = component.isin(ATTENTION), table["stack"] == "encoder"
    u_shape = 0.15 + np.exp(-8 * depth) + 1.6 * depth**6
    handle = 0.4 + 0.6 * np.exp(-12 * depth) + np.exp(-(((depth - 0.7) / 0.2) ** 2))
    rising = 0.4 + depth ** (4 if objective == "mlm" else 2)
    scale = {"key": 0.3, "query": 0.3, "value": 1, "out": 1, "w1": 12, "w2": 13}
    scale |= {"embeddings": 30, "output": 25, "biases": 0.2, "norms": 0.1}
    shape = np.where(is_attention, np.where(is_encoder, u_shape, handle), rising)
    share = shape * component.map(scale) * random.uniform(0.85, 1.15, len(table))
    first, last = LOSS[objective]
    is_noisy = (objective == "mlm") & is_attention & depth.between(0.15, 0.45)
    return {
        "contribution": share / share.sum() * (first - last),
        "noise": np.where(is_noisy, 2.5, 1.0),
        "delay": depth * 3,
    }


def _course(block, update: np.ndarray, updates: int) -> np.ndarray:
    """Return by how much the block really lowers the loss at each update."""
    begin = 0.01 * updates * (1 + block.delay)
    rates = 0.6 * (update + begin) ** -1.6 / (begin**-0.6 - (updates + begin) ** -0.6)
    return block.contribution * rates


def _allocation(
    block, character: Character, update: np.ndarray, updates: int, random
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the statistics of one block at consecutive updates, as `sum/NAME` and so on."""
    course = _course(block, update, updates).astype(np.float32)
    weights = np.random.default_rng(block.Index).dirichlet(np.full(block.heads, 8.0))
    noise = random.standard_normal((block.heads, len(update)), dtype=np.float32)
    noise *= np.float32(character.noise * block.noise * block.heads**0.5)
    heads = (noise - np.float32(character.share)) * weights.astype(np.float32)[:, None] * course
    total = _rounded(heads.sum(axis=0))
    yield f"sum/{block.name}", total
    if block.heads > 1:
        for head, row in enumerate(_rounded(heads), start=1):
            yield f"sum/{block.name}/{head}", row
    spread = 3 * np.float32(character.share) * course
    lean = np.tanh(total / spread) / 10
    yield f"positive/{block.name}", _rounded(spread + np.maximum(total, 0))
    yield f"helping/{block.name}", np.rint((0.5 - lean) * 0.98 * block.elements)
    yield f"hurting/{block.name}", np.rint((0.5 + lean) * 0.98 * block.elements)


def _strides_of(
    block, update: np.ndarray, lengths: np.ndarray, updates: int, random
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what the strides of such lengths did with one block, `(updates, groups)`, as `sum/NAME`
    and so on; 0 where none ends."""
    course = _course(block, update, updates) * lengths
    noise = random.standard_normal((block.heads, len(update), GROUPS_OF_TEXT))
    noise *= TRAPEZOID.noise * block.noise * block.heads**0.5
    weights = np.random.default_rng(block.Index).dirichlet(np.full(block.heads, 8.0))
    heads = (noise - TRAPEZOID.share) * weights[:, None, None] * course[:, None]
    yield f"sum/{block.name}", heads.sum(axis=0)
    if block.heads > 1:
        for head, rows in enumerate(heads, start=1):
            yield f"sum/{block.name}/{head}", rows


def _lists(rows: np.ndarray, lengths: np.ndarray) -> list[list[float] | None]:
    """Return rows as lists, and none where no stride ends."""
    return [list(row) if length else None for row, length in zip(rows, lengths, strict=True)]


def _rounded(values: np.ndarray) -> np.ndarray:
    """Cut float32 to 16 significant bits, as many as the recorder keeps."""
    return (values.view(np.uint32) & np.uint32(0xFFFFFF00)).view(np.float32)
