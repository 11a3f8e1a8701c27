"""What the claims are tested on: the profiles of the main runs under one estimator.

A profile is a quantity of one component over the layers, the encoder's before the decoder's. It is
the mean over the seeds of a run or, for the bootstrap over updates, the sum over stretches of
training: either way a weighted sum over units, and a resample is but other weights.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import pandas as pd

from ..quantities import COMPONENTS, FACETS, per_window

NAMES = {"mlm": "masked LM", "clm": "causal LM", "mt": "translation model"}

STRETCH = 5
"""Windows in a row that are resampled as one, for what is correlated from update to update."""

NEIGHBOURS = 5
"""Stretches in a row that may stand for each other: beyond them, training has moved on."""


class NotApplicable(Exception):
    """A claim cannot be tested on these runs; the message says why."""


class Profiles(NamedTuple):
    """A quantity of a component: values (unit, place, ...), the stack and layer of each place."""

    values: np.ndarray
    stacks: np.ndarray
    layers: np.ndarray


@dataclass(frozen=True)
class Evidence:
    """Everything that one estimator says about the runs."""

    profiles: dict[tuple[str, str, str], Profiles]
    """By objective, component, and quantity: those of `quantities.quantities`, and "heads"."""
    weights: dict[str, np.ndarray]
    """Of the units of each objective."""
    strata: dict[str, list[np.ndarray]]
    """The units of each objective, in groups whose members may stand for each other."""
    all_runs: pd.DataFrame
    """The totals of the blocks of all runs, those of the main runs among them."""

    def resampled(self, picks: Iterable[tuple[str, np.ndarray]]) -> "Evidence":
        """Return the evidence of the picked units, pairs of an objective and some of its units.

        The pairs of an objective follow each other.
        """
        weights = {}
        for objective, pairs in groupby(picks, key=itemgetter(0)):
            units = np.concatenate([picked for _, picked in pairs])
            all_units = self.weights[objective]
            weights[objective] = all_units * np.bincount(units, minlength=len(all_units))
        return replace(self, weights=self.weights | weights)

    def profile(
        self,
        objective: str,
        component: str,
        stack: str | None = None,
        quantity: str = "contribution",
    ) -> np.ndarray:
        """Return a quantity over the layers of a model, or of one of its stacks.

        Of "heads" the shape is (layer, head). Raises `NotApplicable` if nothing was recorded.
        """
        values, stacks, layers = self._weighted(objective, component, quantity)
        chosen = (layers > 0) & ((stacks == stack) | (stack is None))
        if np.isnan(values[chosen]).all():
            of = f"{stack} {component}" if stack else component
            raise NotApplicable(f"{NAMES[objective]}: no {quantity} of {of}")
        return values[chosen]

    def grid(
        self,
        objective: str,
        components: tuple[str, ...] = COMPONENTS,
        stack: str | None = None,
        quantity: str = "contribution",
    ) -> np.ndarray:
        """Return the profiles of several components, shape (component, layer)."""
        rows = [self.profile(objective, name, stack, quantity) for name in components]
        if len({len(row) for row in rows}) > 1:
            raise NotApplicable(f"{NAMES[objective]}: layers are missing")
        return np.stack(rows)

    def stacks(self, objective: str) -> list[str]:
        """Return the stacks of a model, the encoder first."""
        return list(dict.fromkeys(self._weighted(objective, "key", "contribution").stacks))

    def embeddings(self, objective: str, quantity: str = "contribution") -> np.ndarray:
        """Return a quantity of each embedding matrix of a model."""
        return self._weighted(objective, "embeddings", quantity).values

    def whole(self, objective: str, quantity: str = "contribution") -> float:
        """Return the sum of a quantity over all blocks of a model."""
        names = {component for of, component, _ in self.profiles if of == objective} or {"key"}
        return sum(self._weighted(objective, name, quantity).values.sum() for name in names)

    def _weighted(self, objective: str, component: str, quantity: str) -> Profiles:
        """Return the weighted sum over the units, at every place of the component."""
        if objective not in self.weights:
            raise NotApplicable(f"no {NAMES[objective]} among the main runs")
        found = self.profiles.get((objective, component, quantity))
        if found is None:
            raise NotApplicable(f"{NAMES[objective]}: no {quantity} of {component}")
        values = np.tensordot(self.weights[objective], found.values, 1)
        return found._replace(values=values)


def by_seed(main: pd.DataFrame, heads: pd.Series, all_runs: pd.DataFrame) -> Evidence:
    """Return the evidence whose units are the seeds of the main runs.

    `main` as of `quantities.quantities`, `heads` the contributions of the main runs' heads, with
    the head in the index, `all_runs` the totals of all runs; all of one estimator.
    """
    found = {}
    for model, block in main.groupby(level=["objective", "component"]):
        found |= {(*model, name): values for name, values in _by_quantity(block)}
    for model, block in heads.groupby(level=["objective", "component"]):
        found[*model, "heads"] = _arrange(block.unstack("head"))
    sizes = {objective: len(profiles.values) for (objective, *_), profiles in found.items()}
    return Evidence(
        profiles=found,
        weights={objective: np.full(size, 1 / size) for objective, size in sizes.items()},
        strata={objective: [np.arange(size)] for objective, size in sizes.items()},
        all_runs=all_runs[all_runs["head"] == 0],
    )


def by_update(curves: pd.DataFrame) -> Evidence:
    """Return the evidence whose units are stretches of the main runs' training.

    `curves` of one estimator; only contributions are known, the mean over the seeds. A stretch
    may stand for its neighbours alone, so that a resample keeps the course of the training.
    """
    profiles, weights, strata = {}, {}, {}
    for objective, of_objective in curves.groupby("objective"):
        runs = [per_window(run) for _, run in of_objective.groupby(FACETS)]
        sums = sum(runs) / len(runs)
        sums = sums.groupby(np.arange(len(sums)) // STRETCH).sum()
        sums = sums[sorted(sums.columns, key=_encoder_first)]
        for component in sums.columns.unique("component"):
            wide = sums.xs(component, axis="columns", level="component")
            places = (wide.columns.get_level_values(name).to_numpy() for name in ("stack", "layer"))
            profiles[objective, component, "contribution"] = Profiles(wide.to_numpy(), *places)
        weights[objective] = np.ones(len(sums))
        groups = max(1, len(sums) // NEIGHBOURS)
        strata[objective] = np.array_split(np.arange(len(sums)), groups)
    return Evidence(profiles, weights, strata, all_runs=pd.DataFrame())


def _by_quantity(block: pd.DataFrame) -> Iterator[tuple[str, Profiles]]:
    """Yield the name and the profiles of each column of a component's quantities."""
    found = _arrange(block)
    for number, name in enumerate(block.columns):
        yield name, found._replace(values=found.values[..., number])


def _arrange(block: pd.DataFrame) -> Profiles:
    """Return a component's rows, a run's stack and layer each, as an array (run, place, column)."""
    rows = block.index.to_frame(index=False)
    runs = rows.groupby(FACETS).ngroup()
    names = list(zip(rows["stack"], rows["layer"], strict=True))
    places = sorted(set(names), key=_encoder_first)
    values = np.full((runs.max() + 1, len(places), block.shape[1]), np.nan)
    values[runs, [places.index(name) for name in names]] = block.to_numpy()
    return Profiles(values, *map(np.array, zip(*places, strict=True)))


def _encoder_first(place: tuple) -> tuple:
    """Return the key to sort places by, each a stack, a layer, and perhaps more."""
    return place[0] != "encoder", place
