"""A line for each layer over the updates: a row of panels for each group of components, a column
for each objective (figure 2, and the share of parameters that help)."""

from typing import Literal

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import ColorType

from ..vocabulary import FEED_FORWARD, OBJECTIVE_NAMES
from . import layers
from .style import draw_band, objectives, say_empty

GROUPS = {
    "Embeddings": ["embeddings"],
    "Attention (K, Q, V)": ["key", "query", "value"],
    "Feed-forward (W1, W2)": FEED_FORWARD,
}
STACK_COLOURS = {"encoder": "0.6"}
"""Of what is outside the layers; black if it is not of the encoder beside a decoder."""


def grid(
    curves: pd.DataFrame,
    column: str,
    combine: Literal["sum", "mean"],
    smoothing: int,
    scale: str,
    sharey: Literal["none", "row"] = "none",
) -> Figure:
    """Draw a column of `lca.analysis.curves` of one run for each objective, of one estimator.

    The components of a group are combined into one line for each layer, by "sum" or "mean", and
    averaged over the last `smoothing` updates. Of several seeds a line is the mean, in a band from
    the smallest to the largest. The axis of the updates has the `scale` "linear" or
    "log"; `sharey` is as of `plt.subplots`. An objective without data is left out.
    """
    shown = objectives(curves)
    figure, axes = plt.subplots(
        *(len(GROUPS), len(shown)),
        figsize=(3.4 * len(shown) + 0.6, 7),
        height_ratios=[1, *[2] * (len(GROUPS) - 1)],
        sharex="col",
        sharey=sharey,
        squeeze=False,
    )
    for panels, objective in zip(axes.T, shown, strict=True):
        of_objective = curves[curves["objective"] == objective]
        places = layers.places(of_objective[of_objective["layer"] > 0])
        colours = layers.colours(places)
        panels[0].set_title(OBJECTIVE_NAMES[objective])
        for panel, components in zip(panels, GROUPS.values(), strict=True):
            rows = of_objective[of_objective["component"].isin(components)]
            if rows[column].notna().any():
                _draw(panel, _lines(rows, column, combine, smoothing), colours)
            else:
                say_empty(panel, "no data" if rows.empty else "not recorded for this estimator")
        panels[-1].set(xlabel="Update", xscale=scale)
        layers.colour_bar(figure, places, ax=panels, aspect=30, pad=0.01)
    for panel, group in zip(axes[:, 0], GROUPS, strict=True):
        panel.set_ylabel(group, fontweight="bold")
    figure.align_ylabels(axes[:, 0])
    return figure


def _lines(
    rows: pd.DataFrame, column: str, combine: Literal["sum", "mean"], smoothing: int
) -> list[pd.DataFrame]:
    """Return the lines of each seed as columns, (stack, layer), by update."""
    return [
        smooth(
            of_seed.pivot_table(column, "update", ["stack", "layer"], aggfunc=combine), smoothing
        )
        for _, of_seed in rows.groupby("seed")
    ]


def smooth(lines: pd.DataFrame, updates: int) -> pd.DataFrame:
    """Return the moving averages over the last `updates` updates, or as many as there were.

    Rows are of equal windows of updates, and called by their last.
    """
    windows = max(1, round(updates / lines.index[0]))
    return lines.rolling(windows, min_periods=1).mean()


def _draw(
    panel: Axes, seeds: list[pd.DataFrame], colours: dict[tuple[str, int], ColorType]
) -> None:
    """Draw a line for each (stack, layer); those outside the layers have a legend.

    The lines of each seed are the columns of a frame.
    """
    by_update = pd.concat(seeds).groupby(level="update")
    mean, low, high = by_update.mean(), by_update.min(), by_update.max()
    has_two_stacks = mean.columns.get_level_values("stack").nunique() > 1
    for place in layers.places(mean.columns.to_frame()):
        stack, layer = place
        colour = colours.get(place, STACK_COLOURS.get(stack, "0") if has_two_stacks else "0")
        panel.plot(mean.index, mean[place], color=colour, linewidth=0.9, label=stack)
        draw_band(panel, mean.index, low[place], high[place], colour)
    if has_two_stacks and layer == 0:
        panel.legend()
