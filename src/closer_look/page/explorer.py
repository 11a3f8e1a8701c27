"""The tables behind the page's explorer: an index, to become JSON, and a buffer with the curves.

Layers are numbered through a model from 1, the encoder's before the decoder's, as in the paper's
figures. What is outside the layers has the number 0, or 0 and -1 if there are two stacks.
"""

import math
from collections import Counter

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.colors import to_hex

from ..drawing import layers
from ..drawing.style import COLOURS, ESTIMATOR_COLOURS, ESTIMATORS, lighter
from ..trees import Tree
from ..vocabulary import CELL, COMPONENT_NAMES, FACETS, OBJECTIVE_NAMES
from .curves import Buffer, add_curves, regroup

STATISTICS = ("sum", "low", "high", "positive", "helping", "hurting")
TABLES = ("totals", "milestones", "losses", "completeness")
"""Those that go to the page as they are, but for their length."""

PROBES = {"train": "probe, training text", "held_out": "probe, held-out text"}
"""Estimators by the set that the probe measured."""


class Explorer:
    """Collects the tables of one run after the other, curves reduced to `windows` points."""

    def __init__(self, windows: int) -> None:
        self.windows = windows
        self.buffer = Buffer()
        self._runs: list[Tree] = []
        self._curves: list[Tree] = []
        self._tables: dict[str, list[pd.DataFrame]] = {name: [] for name in TABLES}

    def add(self, label: str, main: bool, tables: dict[str, pd.DataFrame]) -> None:
        """Add a run: its `tables` by name, as of the rule `aggregate`.

        `main` runs are those shown at first. Heads' curves get half as many points.
        """
        numbers = _number_layers(tables["totals"])
        elements = tables["totals"].drop_duplicates(CELL)[[*CELL, "elements"]]
        facets = {facet: str(tables["totals"][facet].iloc[0]) for facet in FACETS}
        for frame, statistics, windows in (
            (tables["curves"], STATISTICS, self.windows),
            (tables["head_curves"], ["sum"], self.windows // 2),
            (_as_curves(tables["probes"]), ["sum"], self.windows),
        ):
            for entry in add_curves(frame, statistics, windows, self.buffer):
                blocks = entry["blocks"].merge(elements, how="left")
                entry["blocks"] = _place(blocks, numbers).to_numpy().tolist()
                self._curves.append({"run": len(self._runs), **entry})
        shortened = {
            "totals": _place(tables["totals"], numbers),
            "milestones": _place(tables["milestones"], numbers),
            "losses": _shorten_losses(tables["losses"], self.windows),
            "completeness": _thin(tables["completeness"], self.windows),
        }
        for name, table in shortened.items():
            unseen = table.columns.intersection([*FACETS, "se", "change_se", "lca_se"])
            kept = table.drop(columns=unseen).assign(run=len(self._runs))
            self._tables[name].append(kept)
        self._runs.append({"label": label, "main": main, "layers": _name_layers(numbers), **facets})

    def index(self) -> Tree:
        """Return all but the curves' numbers, ready for JSON."""
        tables = {name: pd.concat(parts) for name, parts in self._tables.items()}
        estimators = dict.fromkeys(entry["estimator"] for entry in self._curves)
        components = sorted(set(tables["totals"]["component"]), key=_component_order)
        return {
            "estimators": {name: estimator_label(name) for name in estimators},
            "estimatorColours": ESTIMATOR_COLOURS,
            "components": {name: component_label(name) for name in components},
            "paperComponents": list(COMPONENT_NAMES),
            "objectives": OBJECTIVE_NAMES,
            "palette": [to_hex(colour) for colour in colormaps["viridis"](np.linspace(0, 1, 32))],
            "runs": _coloured(self._runs),
            "curves": self._curves,
            **{name: _columns(table) for name, table in tables.items()},
        }


def estimator_label(estimator: str) -> str:
    """Return an estimator's name for reading, such as "own-batch"."""
    return ESTIMATORS.get(estimator, estimator.replace("_", " "))


def component_label(component: str) -> str:
    """Return a component's name for reading, such as "Cross key"."""
    return COMPONENT_NAMES.get(component, component.replace("_", " ").capitalize())


def _number_layers(totals: pd.DataFrame) -> dict[tuple[str, int], int]:
    """Return the number of every (stack, layer)."""
    places = layers.places(totals).to_list()
    inside = [place for place in places if place[1] > 0]
    outside = [place for place in places if place[1] == 0]
    numbers = {place: number for number, place in enumerate(inside, 1)}
    return numbers | {place: -number for number, place in enumerate(outside)}


def _name_layers(numbers: dict[tuple[str, int], int]) -> dict[int, str]:
    """Return the names of the numbered layers; their stack is named where there are two."""
    several = len({stack for stack, _ in numbers}) > 1
    names = {}
    for (stack, layer), number in numbers.items():
        name = str(layer or "outside")
        names[number] = f"{stack} {name}" if several else name
    return names


def _place(table: pd.DataFrame, numbers: dict[tuple[str, int], int]) -> pd.DataFrame:
    """Return the table with the layers' numbers instead of stack and layer."""
    places = zip(table["stack"], table["layer"], strict=True)
    return table.drop(columns="stack").assign(layer=[numbers[place] for place in places])


def _as_curves(probes: pd.DataFrame) -> pd.DataFrame:
    """Return the probes as curves: an estimator for each set that was measured."""
    return probes.rename(columns={"lca": "sum"}).assign(estimator=probes["set"].map(PROBES))


def _shorten_losses(losses: pd.DataFrame, windows: int) -> pd.DataFrame:
    """Return the losses in at most `windows` windows, smallest and largest kept."""
    ends = losses["update"].to_numpy()
    columns = losses.columns.difference([*FACETS, "update"])
    reduced = {
        column: regroup(losses[[column]].to_numpy().T, ends, windows, column) for column in columns
    }
    _, ends = reduced["loss"]
    shortened = {column: values[0] for column, (values, _) in reduced.items()}
    facets = losses[FACETS].head(len(ends))
    return facets.assign(update=ends, **shortened)


def _thin(completeness: pd.DataFrame, most: int) -> pd.DataFrame:
    """Return every n-th measurement and the last, some `most` of them."""
    updates = np.sort(completeness["update"].unique())
    kept = updates[:: max(1, math.ceil(len(updates) / most))]  # there are none without a probe
    return completeness[completeness["update"].isin([*kept, *updates[-1:]])]


def _component_order(component: str) -> tuple[bool, bool, int, str]:
    """Sort in the paper's order: its components, those of the cross-attention, then the others."""
    order = list(COMPONENT_NAMES)
    name = component.removeprefix("cross_")
    known = name in order
    return not known, name != component, order.index(name) if known else 0, component


def _coloured(runs: list[Tree]) -> list[Tree]:
    """Return the runs with colours: the objective's of main runs, others lighter."""
    others = Counter(run["objective"] for run in runs if not run["main"])
    shares = {name: iter(np.linspace(0.25, 0.7, number)) for name, number in others.items()}
    coloured = []
    for run in runs:
        share = 0 if run["main"] else next(shares[run["objective"]])
        coloured.append(run | {"colour": to_hex(lighter(COLOURS[run["objective"]], share))})
    return coloured


def _columns(table: pd.DataFrame) -> dict[str, list[object]]:
    """Return the columns as lists for JSON: six digits, None where a number is missing."""
    return {
        str(name): [float(f"{value:.6g}") if math.isfinite(value) else None for value in column]
        if pd.api.types.is_float_dtype(column)
        else [None if pd.isna(value) else value for value in column.tolist()]
        for name, column in table.items()
    }
