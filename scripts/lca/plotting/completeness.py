"""Whether the contributions add up: the summed LCA of every estimator against the true change."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import ESTIMATOR_COLOURS, ESTIMATORS, OBJECTIVES, UNIT, objectives, say_empty

REFERENCES = ("dropout", "train", "held_out")
"""What the true loss may have been measured on, the best first: with dropout, as in training."""

ROOM = 1.6
"""An axis holds this multiple of the true change: what is further off only leaves the panel."""

LINE_HEIGHT = 0.065  # of a label, as a share of the panel's height


def draw(completeness: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Draw a panel for each objective: the true change of the loss, and each estimator's sum.

    The arguments are as of `lca.analysis.completeness` and `lca.analysis.curves`, of one run for
    each objective. At a line's end stands by how much the sum misses the true change, relative to
    it. An objective that was not probed is left out.
    """
    completeness = completeness[completeness["estimator"].isin(curves["estimator"])]
    found = objectives(completeness)
    panels = max(1, len(found))
    figure, axes = plt.subplots(1, panels, figsize=(max(6, 3.9 * panels), 3.3), squeeze=False)
    for panel, objective in zip(axes[0], found, strict=False):
        rows, of_curves = (
            frame[frame["objective"] == objective] for frame in (completeness, curves)
        )
        reference = next(name for name in REFERENCES if name in set(rows["reference"]))
        _draw(panel, rows[rows["reference"] == reference], cumulative(of_curves))
        panel.set(title=OBJECTIVES[objective], xlabel="Update")
    if not found:
        say_empty(axes[0, 0], "no update was probed")
    axes[0, 0].set_ylabel(f"Change of the loss\n({UNIT})")
    figure.suptitle("Do the contributions add up? Summed LCA and how the loss really changed")
    return figure


def cumulative(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the LCA of all blocks summed up to each update: a column for each estimator."""
    means = curves.astype({"sum": float}).pivot_table("sum", "update", "estimator", aggfunc="sum")
    sums = means.mul(np.diff(means.index, prepend=0), axis="index").cumsum()
    return pd.concat([pd.DataFrame(0.0, [0], sums.columns), sums])


def _draw(panel: Axes, rows: pd.DataFrame, sums: pd.DataFrame) -> None:
    """Draw one run, as far as the true change is known."""
    truth = rows.drop_duplicates("update").set_index("update")["change"].sort_index()
    end, last_update = truth.iloc[-1], truth.index[-1]
    bottom = ROOM * end if end < 0 else -np.inf
    labels = [(end, f"loss {_signed(end, '.2f')}", "black")]
    for estimator in [name for name in ESTIMATORS if name in sums]:
        line, colour = sums[estimator].loc[:last_update], ESTIMATOR_COLOURS[estimator]
        panel.plot(line.index, line, color=colour, linewidth=2)
        last = line.iloc[-1]
        text = f"{ESTIMATORS[estimator]} {_signed(100 * (last / end - 1), '+.0f')} %"
        if last < bottom:
            _label_exit(panel, line, bottom, f"{text}\n(to {_signed(last, '.1f')}) ↓", colour)
        else:
            labels.append((last, text, colour))
    panel.plot(truth.index, truth, color="black", linewidth=2.6, marker="o", markersize=4)
    if panel.get_ylim()[0] < bottom:
        panel.set_ylim(bottom, -0.05 * bottom)
    panel.set_xlim(0, last_update)
    _label_ends(panel, labels)


def _label_exit(panel: Axes, line: pd.Series, bottom: float, text: str, colour: str) -> None:
    """Label a line right of where it leaves the panel at the bottom."""
    exit = np.interp(-bottom, -line, line.index)
    panel.annotate(
        text, (exit, bottom), (6, 4), textcoords="offset points", color=colour, fontweight="bold"
    )


def _label_ends(panel: Axes, labels: list[tuple[float, str, str]]) -> None:
    """Write the labels (height, text, colour) right of the panel, none over another."""
    bottom, top = panel.get_ylim()
    free = top
    for height, text, colour in sorted(labels, reverse=True):
        height = min(height, free)
        free = height - LINE_HEIGHT * (top - bottom)
        panel.annotate(
            text,
            (1, height),
            (6, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            color=colour,
            fontweight="bold",
        )


def _signed(value: float, style: str) -> str:
    """Return a number with a typographic minus sign."""
    return f"{value:{style}}".replace("-", "−")
