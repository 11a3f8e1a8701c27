"""Figure 5: figure 1 of all runs, overlaid: a colour for each objective, a shade for each run."""

from collections.abc import Collection

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from closer_look.analysis.frames import read
from closer_look.drawing import layers
from closer_look.drawing.bars import contributions
from closer_look.drawing.style import (
    COLOURS,
    ESTIMATORS,
    draw_band,
    names,
    objectives,
    save,
    say_empty,
    shades,
)
from closer_look.jobs.job import job
from closer_look.vocabulary import COMPONENT_NAMES, MODEL, OBJECTIVE_NAMES, UNIT

GRID = [["key", "value", "w1"], ["query", "out", "w2"]]
"""Where the components are; those above each other have one scale."""

LEGEND_ROWS = 30

MOST_BANDS = 4
"""Runs of one seed each of which the intervals are drawn: more bands could not be told apart."""


def draw(
    totals: pd.DataFrame, estimator: str = "own_batch", dashed: Collection[str] = ()
) -> Figure:
    """Draw the contribution, -LCA, of every run over its layers.

    Of several seeds a line is the mean, in a band from the smallest to the largest. Of one seed the
    band is the interval of 95 %, where there are at most `MOST_BANDS` runs.

    `totals` as of `lca.analysis.totals`, of this estimator, with the columns of
    `vocabulary.FACETS`. `dashed` are the runs to draw dashed, as CORPUS/OBJECTIVE/LANGUAGES. In
    translation a line breaks between the stacks.
    """
    blocks = totals[totals["head"] == 0]
    figure, axes = plt.subplots(2, 3, figsize=(11, 5), sharex=True, sharey="col")
    panels = {GRID[row][column]: panel for (row, column), panel in np.ndenumerate(axes)}
    with_bands = blocks["seed"].nunique() > 1 or len(blocks[MODEL].drop_duplicates()) <= MOST_BANDS
    handles = []
    for objective in objectives(blocks):
        of_objective = blocks[blocks["objective"] == objective]
        runs = of_objective[MODEL].drop_duplicates()
        tints = shades(COLOURS[objective], len(runs))
        handles.append(Line2D([], [], linestyle="none", label=OBJECTIVE_NAMES[objective]))
        for name, shade, run in zip(names(runs), tints, runs.itertuples(index=False), strict=True):
            of_run = of_objective[(of_objective[MODEL] == list(run)).all(axis=1)]
            dashes = (0, (3, 1.5)) if "/".join(run[:3]) in dashed else "solid"
            style = dict(color=shade, linestyle=dashes, marker="o", markersize=2)
            handles.append(Line2D([], [], label=name, **style))
            for component, panel in panels.items():
                of_component = of_run[of_run["component"] == component]
                _draw_line(panel, of_component, style, with_bands)
    for component, panel in panels.items():
        panel.set_title(COMPONENT_NAMES[component])
        if not panel.lines:
            say_empty(panel)
    _label_axes(axes)
    figure.supxlabel("Layer (translation: the encoder's, then the decoder's)", fontsize=8)
    figure.supylabel(f"Contribution, −ΣLCA ({UNIT})", fontsize=8)
    figure.suptitle(f"LCA summed over training, all runs, {ESTIMATORS[estimator]} estimator")
    _explain(figure, handles)
    return figure


def _draw_line(panel: Axes, totals: pd.DataFrame, style: dict, with_bands: bool) -> None:
    """Draw one component of one run: a line for each stack."""
    places = layers.places(totals)
    line = contributions(totals).reindex(places)
    positions = pd.Series(range(1, len(places) + 1), places)
    for stack in places.get_level_values("stack").unique():
        of_stack = line.loc[stack]
        panel.plot(positions[stack], of_stack["mean"], **style)
        if with_bands:
            draw_band(panel, positions[stack], of_stack["low"], of_stack["high"], style["color"])


def _label_axes(axes: np.ndarray) -> None:
    """Number the layers on all axes, which have one x axis, from the lowest value or 0."""
    last = max(max(line.get_xdata()) for panel in axes.flat for line in panel.lines)
    layers.number(axes[0, 0].xaxis, list(range(1, last + 1)), first=1)
    for panel in axes[0]:
        panel.set_ylim(bottom=min(0, panel.get_ylim()[0]))
    for panel in axes.flat:
        if panel.get_ylim()[0] < 0:
            panel.axhline(0, color="black", linewidth=0.6, zorder=0)


def _explain(figure: Figure, handles: list[Line2D]) -> None:
    """Draw the legend at the right; entries without a line are headings."""
    columns = -(-len(handles) // LEGEND_ROWS)
    legend = figure.legend(handles=handles, loc="outside right center", ncols=columns)
    for text, handle in zip(legend.get_texts(), handles, strict=True):
        if handle.get_linestyle() == "None":
            text.set(fontweight="bold", x=-20)


if __name__ == "__main__":
    with job(snakemake):
        estimator = snakemake.params.estimator
        totals = read(snakemake.input.totals, estimator)
        save(draw(totals, estimator, snakemake.params.dashed), *snakemake.output)
