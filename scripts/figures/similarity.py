"""How alike the runs are: correlations of their layer profiles, clustered."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.cluster.hierarchy import dendrogram, linkage
from scipy.spatial.distance import squareform

from closer_look.analysis.frames import read
from closer_look.analysis.similarity import data, p_value, profiles, separation, similarities
from closer_look.drawing.style import COLOURS, ESTIMATORS, names, save, signed
from closer_look.jobs.job import job

STEP = 10
"""Between the leaves of scipy's dendrograms."""

MOST_NUMBERS = 24
"""Runs up to which the correlations are written into the cells."""


def draw(totals: pd.DataFrame, estimator: str = "own_batch") -> Figure:
    """Draw the correlation of every two runs, ordered by average linkage of 1 - r.

    `totals` as of `lca.analysis.totals`, of this estimator, with the facets of the runs. The title
    says, of the objective and of the data, how much further apart runs are that differ in it than
    runs that do not, and the p of a permutation test.
    """
    of_runs = profiles(totals)
    runs = of_runs.index.to_frame(index=False)
    components = of_runs.columns.get_level_values("component").nunique()
    r = np.nan_to_num(similarities(of_runs.to_numpy().reshape(len(runs), components, -1)))
    side = max(1.8, 0.3 * len(runs) + 0.5)
    figure, (tree, panel) = plt.subplots(
        *(1, 2),
        figsize=(side + 3.4, side + 1.6),
        width_ratios=[1, side],
        sharey=True,
    )
    order = _draw_tree(tree, 1 - r)
    _draw_map(panel, r[np.ix_(order, order)])
    _label(panel, runs.iloc[order])
    bar = figure.colorbar(panel.images[0], ax=panel, aspect=30, shrink=0.8)
    bar.set_label("Correlation of the profiles, r")
    bar.outline.set_visible(False)
    tests = [
        ("the objective differs", runs["objective"].to_numpy()),
        ("the data differ", data(runs).to_numpy()),
    ]
    lines = [f"further apart if {name}: {_test(1 - r, labels)}" for name, labels in tests]
    title = f"Similarity of the runs, {ESTIMATORS[estimator]} estimator"
    figure.suptitle("\n".join([title, *lines]))
    return figure


def _test(distance: np.ndarray, labels: np.ndarray) -> str:
    """Return the separation by labels and its p in words."""
    apart = separation(distance, labels)
    if np.isnan(apart):
        return "no pairs to compare"
    return f"by {signed(apart, '.2f')} (p = {p_value(distance, labels):.2g})"


def _draw_tree(panel: Axes, distance: np.ndarray) -> list[int]:
    """Draw the dendrogram; return the order of the runs, from the bottom."""
    panel.set_axis_off()
    if len(distance) == 1:
        return [0]
    tree = linkage(squareform(distance, checks=False), "average", optimal_ordering=True)
    options = dict(orientation="left", color_threshold=0, above_threshold_color="0.3")
    return dendrogram(tree, ax=panel, no_labels=True, **options)["leaves"]


def _draw_map(panel: Axes, r: np.ndarray) -> None:
    """Draw the correlations, on the scale of the dendrogram."""
    end = STEP * len(r)
    panel.imshow(
        r, cmap="RdBu_r", vmin=-1, vmax=1, origin="lower", extent=(0, end, 0, end), aspect="auto"
    )
    panel.grid(False)
    panel.spines[:].set_visible(False)
    if len(r) <= MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(r):
            place = STEP * (column + 0.5), STEP * (row + 0.5)
            colour = "white" if abs(value) > 0.7 else "black"
            text = signed(value, ".2f").replace("0.", ".")
            panel.text(*place, text, ha="center", va="center", fontsize=5.5, color=colour)


def _label(panel: Axes, runs: pd.DataFrame) -> None:
    """Name the runs on both axes, in the colours of their objectives."""
    ticks = STEP * (np.arange(len(runs)) + 0.5)
    labels = [
        f"{objective.upper()} {name}"
        for objective, name in zip(runs["objective"], names(runs), strict=True)
    ]
    panel.set_xticks(ticks, labels, rotation=90)
    panel.set_yticks(ticks, labels)
    panel.tick_params(length=0, labelleft=True)
    for axis in (panel.xaxis, panel.yaxis):
        for label, objective in zip(axis.get_ticklabels(), runs["objective"], strict=True):
            label.set_color(COLOURS[objective])


if __name__ == "__main__":
    with job(snakemake):
        estimator = snakemake.params.estimator
        totals = read(snakemake.input.totals, estimator)
        save(draw(totals, estimator), *snakemake.output)
