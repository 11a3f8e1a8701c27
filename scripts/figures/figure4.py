"""Figure 4: when and where the updates of the masked language model raised the loss."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from closer_look.analysis.frames import read
from closer_look.drawing import layers
from closer_look.drawing.style import ESTIMATORS, save, say_empty
from closer_look.jobs.job import job
from closer_look.vocabulary import ATTENTION, COMPONENT_NAMES, FEED_FORWARD, OBJECTIVE_NAMES, UNIT

COLUMNS = ["objective", "stack", "layer", "component", "update", "high"]

GROUPS = (ATTENTION, FEED_FORWARD, ("embeddings",))
"""Components with a scale in common."""

SHOWN = 0.95
"""Share of a group's positive values that its axis holds; the others are drawn at its edge."""


def draw(curves: pd.DataFrame, estimator: str = "own_batch") -> Figure:
    """Draw every positive LCA of a layer's component against the update, coloured by layer.

    `curves` as of `lca.analysis.curves`, of this estimator and of one run; a point is the largest
    LCA of an update in a window. The paper shows the interval [0, 1] of values up to 68. Here the
    highest twentieth of a group's points is drawn as triangles at the upper edge of its axis.
    """
    places = layers.places(curves[curves["layer"] > 0])
    colours = layers.colours(places)
    figure, axes = plt.subplots(2, 4, figsize=(11, 4.4), sharex=True)
    panels = iter(axes.flat)
    for group in GROUPS:
        rows = curves[curves["component"].isin(group)]
        limit = rows.loc[rows["high"] > 0, "high"].quantile(SHOWN)
        for component in group:
            panel = next(panels)
            panel.set_title(COMPONENT_NAMES.get(component, component.capitalize()))
            _draw(panel, rows[rows["component"] == component], colours, limit)
    _explain(figure, next(panels), places)
    axes[0, 0].set_xlim(0, curves["update"].max())
    figure.supxlabel("Update", fontsize=8)
    figure.supylabel(f"Positive LCA ({UNIT})", fontsize=8)
    objective = OBJECTIVE_NAMES[curves["objective"].iloc[0]]
    figure.suptitle(f"{objective}: LCA that raised the loss, {ESTIMATORS[estimator]} estimator")
    return figure


def _draw(panel: Axes, rows: pd.DataFrame, colours: dict, limit: float) -> None:
    """Draw a point for each positive row, in no order that would favour a layer."""
    panel.tick_params(labelbottom=True)
    positive = rows[rows["high"] > 0].sample(frac=1, random_state=1)
    if positive.empty:
        say_empty(panel, "no data" if rows.empty else "never positive")
        return
    for is_beyond, marker, size in ((False, "o", 5), (True, "^", 9)):
        shown = positive[(positive["high"] > limit) == is_beyond]
        places = zip(shown["stack"], shown["layer"], strict=True)
        shades = [colours.get(place, "black") for place in places]
        heights = shown["high"].clip(upper=limit)
        style = dict(marker=marker, linewidths=0, clip_on=False, rasterized=True)
        panel.scatter(shown["update"], heights, size, shades, **style)
    panel.set_ylim(0, limit)


def _explain(figure: Figure, panel: Axes, places: pd.Index) -> None:
    """Use a panel for the legend."""
    panel.set_axis_off()
    layers.colour_bar(figure, places, cax=panel.inset_axes([0.1, 0.6, 0.85, 0.08]))
    panel.text(0.525, 0.15, "▲ beyond the axis", ha="center", transform=panel.transAxes, fontsize=7)


if __name__ == "__main__":
    with job(snakemake):
        estimator = snakemake.params.estimator
        curves = read(snakemake.input.curves, estimator, COLUMNS)
        save(draw(curves, estimator), *snakemake.output)
