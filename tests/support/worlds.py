"""Tables of imagined runs: flat to begin with, then altered in just what a claim is about."""

from collections import defaultdict
from itertools import product

import numpy as np
import pandas as pd

from closer_look.analysis import claims
from closer_look.vocabulary import ATTENTION, BLOCK, COMPONENTS, FACETS

LAYERS, HEADS, WINDOWS, WIDTH = 12, 4, 100, 10
UPDATES = WINDOWS * WIDTH

MLM = ("europarl", "mlm", "en", "base", 1)
CLM = ("europarl", "clm", "en", "base", 1)
MT = ("europarl", "mt", "en-de", "base", 1)
MAIN_RUNS = (MLM, CLM, MT)
MAIN = [run[:4] for run in MAIN_RUNS]
ENCODER, DECODER = slice(0, 6), slice(6, 12)

RAMP = np.arange(1.0, 13)
CUP = np.array([3.0, 1, 1, 1, 1, 3, 3, 3, 3, 3, 2.5, 1])

EVEN = np.full(WINDOWS, 1 / WINDOWS)
SWINGS = np.repeat([1.0, -1, 1, -1, 0] * 4, 5)
"""Of windows, by blocks that are resampled as one: they deviate, and add up to nothing."""


def until(window):
    """Return a course that ends at a window: its t90 is 90 % of that."""
    return np.where(np.arange(WINDOWS) < window, 1 / window, 0)


class Model:
    """A run: arrays by component, with a value for each layer (12; MT: 6 and 6).

    Every block contributes 1, evenly over the layers, heads and updates, and never hurts.
    """

    def __init__(self, layers=LAYERS):
        self.h = {name: np.ones(layers) for name in COMPONENTS}
        self.heads = {name: np.full((layers, HEADS), 1 / HEADS) for name in ATTENTION}
        self.course = {name: np.full((layers, WINDOWS), 1 / WINDOWS) for name in COMPONENTS}
        """The share of the contribution in each window."""
        self.high = {name: np.full((layers, WINDOWS), -1.0) for name in COMPONENTS}
        """The largest value of an update in each window."""
        self.embeddings = {"h": 1.0, "course": EVEN, "high": np.full(WINDOWS, -1.0)}
        self.swing = 0.0
        """How far windows are from the course, as multiples of its mean, in `SWINGS`."""
        self.se = 0.0

    def set(self, components, profile, field="h"):
        """Set a field of several components to the same values."""
        for name in components:
            getattr(self, field)[name][:] = profile

    def places(self, objective):
        """Return the stack and layer of every position."""
        if objective != "mt":
            stack = {"mlm": "encoder", "clm": "decoder"}[objective]
            return [(stack, layer + 1) for layer in range(len(self.h["key"]))]
        half = range(1, len(self.h["key"]) // 2 + 1)
        return list(product(["encoder", "decoder"], half))


class World:
    """Runs by their facets; `tables()` are those that the workflow would have made of them."""

    def __init__(self, runs=MAIN_RUNS, layers=LAYERS):
        self.runs = {run: Model(layers) for run in runs}

    def __getitem__(self, run):
        return self.runs[run]

    def tables(self, estimator="own_batch"):
        parts = defaultdict(list)
        for run, model in self.runs.items():
            for table, frame in _frames(run, model):
                for facet, value in reversed([*zip(FACETS, run, strict=True)]):
                    frame.insert(0, facet, value)
                frame.insert(len(FACETS), "estimator", estimator)
                parts[table].append(frame)
        return {table: pd.concat(frames, ignore_index=True) for table, frames in parts.items()}


def results(world, estimator="own_batch", resamples=199, **more):
    """Return the verdicts of one estimator by claim; `world` may be tables already."""
    tables = world if isinstance(world, dict) else world.tables(estimator)
    return claims.evaluate(**tables, main=MAIN, resamples=resamples, **more).set_index("claim")


def values(row):
    """Return all values of a verdict by their labels."""
    parts = (part.rsplit(": ", 1) for part in row["values"].split("; "))
    return {label: float(value.split()[0]) for label, value in parts}


def change(run, components, field="h", at=slice(None), to=None):
    """Return a function that changes a world: a field of some components at some layers."""

    def apply(world):
        for name in components:
            getattr(world[run], field)[name][at] = to

    return apply


def embeddings(run, field, to):
    """Return a function that changes the embeddings of a run."""
    return lambda world: world[run].embeddings.update({field: to})


def swing(size, *runs):
    """Return a function that lets windows be far from what their neighbours are."""

    def apply(world):
        for run in runs or world.runs:
            world[run].swing = size

    return apply


def unsure(size):
    """Return a function that gives the sums of all runs standard errors."""

    def apply(world):
        for model in world.runs.values():
            model.se = size

    return apply


def all_of(*changes):
    """Return a function that does all of these."""

    def apply(world):
        for one in changes:
            one(world)

    return apply


def check(case, verdict, estimator="own_batch", resamples=199):
    """Return the row of a claim's verdict, a number and changes of a flat world."""
    number, *changes = case
    world = World()
    all_of(*changes)(world)
    row = results(world, estimator, resamples, numbers=[str(number)]).loc[str(number)]
    assert row["verdict"] == verdict, row["values"] or row["reason"]
    return row


def without(table, **facets):
    """Return the rows that do not have all of these values."""
    keep = [table[name] != value for name, value in facets.items()]
    return table[np.logical_or.reduce(keep)]


def _frames(run, model):
    """Yield the names and frames of a run's tables, but for the facets and the estimator."""
    layered = [(*place, name) for place in model.places(run[1]) for name in COMPONENTS]
    outside = [("encoder" if run[1] != "clm" else "decoder", 0, "embeddings")]
    blocks = pd.DataFrame(layered + outside, columns=BLOCK)
    layers = range(len(model.h["key"]))
    h, courses, highs = (
        np.array([getattr(model, field)[name][layer] for layer in layers for name in COMPONENTS])
        for field in ("h", "course", "high")
    )
    h = np.append(h, model.embeddings["h"])
    courses = np.vstack([courses, model.embeddings["course"]])
    highs = np.vstack([highs, model.embeddings["high"]])
    own = np.cos(np.arange(len(blocks)))[:, None]  # each block swings in its own way
    sums = h[:, None] * courses + model.swing * own * SWINGS / WINDOWS
    yield "curves", _curves(blocks, sums, high=highs)
    headed = [(*place, name) for place in model.places(run[1]) for name in ATTENTION]
    heads = pd.DataFrame(
        [(*block, head + 1) for block in headed for head in range(HEADS)], columns=[*BLOCK, "head"]
    )
    by_head = np.array([model.heads[name][layer] for layer in layers for name in ATTENTION]).ravel()
    shifts = model.swing * np.sin(np.arange(len(by_head)))[:, None] * SWINGS  # each its own
    yield "head_curves", _curves(heads, by_head[:, None] * EVEN + shifts / WINDOWS / HEADS)
    whole = blocks.assign(head=0, lca=-sums.sum(axis=1), se=model.se)
    yield "totals", pd.concat([whole, heads.assign(lca=-by_head, se=model.se)], ignore_index=True)


def _curves(labels, contributions, **more):
    found = labels.loc[labels.index.repeat(WINDOWS)].reset_index(drop=True)
    found["update"] = np.tile(np.arange(1, WINDOWS + 1) * WIDTH, len(labels))
    found["sum"] = -contributions.ravel() / WIDTH
    return found.assign(**{name: array.ravel() for name, array in more.items()})
