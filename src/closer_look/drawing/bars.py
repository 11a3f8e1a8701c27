"""Bars per layer: a row of panels for each run, a column for each component (figures 1 and 6)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lca.analysis.uncertainty import INTERVAL

from ..vocabulary import COMPONENT_NAMES, FEED_FORWARD, UNIT
from . import layers
from .style import COLOURS, lighter, say_empty

SHARED_SCALES = (("key", "query"), ("value", "out"), FEED_FORWARD)
"""Components that work as one have one scale; between these pairs magnitudes differ too much."""


def grid(rows: Sequence[tuple[str, str, pd.DataFrame]], title: str, height: float) -> Figure:
    """Draw a row of panels, `height` inches high, for each (name, objective, totals) of `rows`.

    The bars are contributions, -LCA in nats per predicted token: a fall of the loss points upward.
    A thin line is the interval of 95 %; of several seeds a bar is the mean, and the line goes from
    the smallest to the largest. In translation the encoder's layers come first, in a lighter shade.
    """
    figure, axes = plt.subplots(
        len(rows), len(COMPONENT_NAMES), figsize=(11, height * len(rows) + 0.6), squeeze=False
    )
    for row, (name, objective, totals) in zip(axes, rows, strict=True):
        panels = dict(zip(COMPONENT_NAMES, row, strict=True))
        for component, panel in panels.items():
            of_component = totals[(totals["component"] == component) & (totals["head"] == 0)]
            draw(panel, of_component, COLOURS[objective])
        for group in SHARED_SCALES:
            _share_scale([panels[component] for component in group])
        row[0].set_ylabel(name, fontweight="bold")
    for panel, heading in zip(axes[0], COMPONENT_NAMES.values(), strict=True):
        panel.set_title(heading)
    figure.supxlabel("Layer", fontsize=8)
    figure.supylabel(f"Contribution, −ΣLCA ({UNIT})", fontsize=8)
    figure.suptitle(title)
    figure.align_ylabels(axes[:, 0])
    return figure


def draw(panel: Axes, totals: pd.DataFrame, colour: str) -> None:
    """Draw the bars of one component's totals."""
    if totals.empty:
        say_empty(panel)
        return
    places = layers.places(totals)
    bars = contributions(totals).loc[places]
    has_two_stacks = bool(layers.stack_middles(places))
    colours = [
        lighter(colour) if has_two_stacks and stack == "encoder" else colour for stack, _ in places
    ]
    panel.bar(range(len(places)), bars["mean"], color=colours, width=0.8)
    if (bars["low"] < bars["high"]).any():
        spread = bars[["low", "high"]].sub(bars["mean"], axis=0).abs().T.to_numpy()
        panel.errorbar(
            range(len(places)), bars["mean"], spread, fmt="none", ecolor="0.2", elinewidth=0.6
        )
    layers.label(panel.xaxis, places)
    layers.name_stacks(panel, places)
    panel.tick_params(axis="x", length=0, pad=2, labelsize=5.5)
    panel.axhline(0, color="black", linewidth=0.6)


def contributions(totals: pd.DataFrame) -> pd.DataFrame:
    """Return the contribution of each (stack, layer) of one component: its mean, low and high.

    These are the extremes of several seeds, or the interval of 95 % of one.
    """
    by_place = (-totals.set_index(["stack", "layer"])["lca"]).groupby(level=[0, 1], sort=False)
    seeds = by_place.agg(["mean", "min", "max"]).rename(columns={"min": "low", "max": "high"})
    if totals["seed"].nunique() > 1:
        return seeds
    half = INTERVAL * totals.set_index(["stack", "layer"])["se"]
    return seeds.assign(low=seeds["mean"] - half, high=seeds["mean"] + half)


def _share_scale(panels: list[Axes]) -> None:
    """Give the panels that have bars the y axis that holds them all."""
    panels = [panel for panel in panels if panel.patches]
    limits = [panel.get_ylim() for panel in panels]
    for panel in panels:
        panel.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
