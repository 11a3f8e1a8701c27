"""Tables of imagined runs: flat to begin with, then altered in just what a claim is about."""

from collections import defaultdict
from itertools import product

import numpy as np
import pandas as pd

from closer_look.analysis.quantities import ATTENTION, BLOCK, COMPONENTS, FACETS

LAYERS, HEADS, WINDOWS, WIDTH = 12, 4, 100, 10
UPDATES = WINDOWS * WIDTH

MLM = ("europarl", "mlm", "en", "base", 1)
CLM = ("europarl", "clm", "en", "base", 1)
MT = ("europarl", "mt", "en-de", "base", 1)
MAIN = [run[:4] for run in (MLM, CLM, MT)]


class Model:
    """A run: arrays by component, with a value for each layer (12; MT: 6 and 6).

    Every block contributes 1, evenly over the layers, heads and updates, and never hurts.
    """

    def __init__(self, layers=LAYERS):
        self.h = {name: np.ones(layers) for name in COMPONENTS}
        self.t90 = {name: np.full(layers, 0.9 * UPDATES) for name in COMPONENTS}
        self.last_positive = {name: np.zeros(layers) for name in COMPONENTS}
        self.heads = {name: np.full((layers, HEADS), 1 / HEADS) for name in ATTENTION}
        self.course = {name: np.full((layers, WINDOWS), 1 / WINDOWS) for name in COMPONENTS}
        """The share of the contribution in each window."""
        self.hurts = {name: np.zeros((layers, WINDOWS), bool) for name in COMPONENTS}
        self.embeddings = {"h": 1.0, "course": np.full(WINDOWS, 1 / WINDOWS), "last_positive": 0}

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

    def __init__(self, runs=(MLM, CLM, MT), layers=LAYERS):
        self.runs = {run: Model(layers) for run in runs}

    def __getitem__(self, run):
        return self.runs[run]

    def tables(self, estimator="own_batch"):
        rows = defaultdict(list)
        for run, model in self.runs.items():
            for table, row in _rows(run, model):
                rows[table].append((*run, estimator, *row))
        values = {
            "totals": ["head", "lca"],
            "milestones": ["t90", "last_positive"],
            "curves": ["update", "sum", "high"],
        }
        return {
            table: pd.DataFrame(rows[table], columns=[*FACETS, "estimator", *BLOCK, *names])
            for table, names in values.items()
        }


def _rows(run, model):
    for position, (stack, layer) in enumerate(model.places(run[1])):
        for name in COMPONENTS:
            block = stack, layer, name
            h = model.h[name][position]
            yield "totals", (*block, 0, -h)
            milestone = model.t90[name][position], model.last_positive[name][position]
            yield "milestones", (*block, *milestone)
            if name in ATTENTION:
                for head in range(HEADS):
                    yield "totals", (*block, head + 1, -model.heads[name][position, head])
            hurts = model.hurts[name][position]
            yield from _curve(block, h * model.course[name][position], hurts)
    block = "encoder" if run[1] != "clm" else "decoder", 0, "embeddings"
    yield "totals", (*block, 0, -model.embeddings["h"])
    yield "milestones", (*block, UPDATES, model.embeddings["last_positive"])
    course = model.embeddings["h"] * model.embeddings["course"]
    yield from _curve(block, course, np.zeros(WINDOWS, bool))


def _curve(block, contributions, hurts):
    for window in range(WINDOWS):
        high = 1.0 if hurts[window] else -1.0
        update = (window + 1) * WIDTH
        yield "curves", (*block, update, -contributions[window] / WIDTH, high)
