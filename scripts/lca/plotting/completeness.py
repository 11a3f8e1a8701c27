"""Whether the contributions add up: the summed LCA of every estimator against the true change."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import ESTIMATOR_COLOURS, ESTIMATORS, OBJECTIVES, UNIT, objectives

REFERENCES = ("dropout", "train", "held_out")
"""What the true loss may have been measured on, the best first: with dropout, as in training."""

ROOM = 1.6
"""An axis holds this multiple of the true change: what is further off only leaves the panel."""

LINE_HEIGHT = 0.065  # of a label, as a share of the panel's height


def draw(completeness: pd.DataFrame) -> Figure:
    """Draw a panel for each objective: the true change of the loss, and each estimator's sum.

    `completeness` is the table of this name, of one run for each objective. At a line's end stands
    by how much the sum misses the true change, relative to it.
    """
    found = objectives(completeness)
    figure, axes = plt.subplots(
        1, len(found), figsize=(max(6, 3.9 * len(found)), 3.3), squeeze=False
    )
    for panel, objective in zip(axes[0], found, strict=True):
        _draw(panel, completeness[completeness["objective"] == objective])
        panel.set(title=OBJECTIVES[objective], xlabel="Update")
    axes[0, 0].set_ylabel(f"Change of the loss\n({UNIT})")
    figure.suptitle("Do the contributions add up? Summed LCA and how the loss really changed")
    return figure


def _draw(panel: Axes, rows: pd.DataFrame) -> None:
    """Draw one run."""
    reference = next(name for name in REFERENCES if name in set(rows["reference"]))
    rows = rows[rows["reference"] == reference]
    truth = rows.drop_duplicates("update").set_index("update")["change"].sort_index()
    end = truth.iloc[-1]
    bottom = ROOM * end if end < 0 else -float("inf")
    labels = [(end, f"loss {_signed(end, '.2f')}", "black")]
    for estimator in [name for name in ESTIMATORS if name in set(rows["estimator"])]:
        line = rows[rows["estimator"] == estimator].set_index("update")["lca"].sort_index()
        colour, last = ESTIMATOR_COLOURS[estimator], line.iloc[-1]
        panel.plot(line.index, line, color=colour, linewidth=2)
        text = f"{ESTIMATORS[estimator]} {_signed(100 * (last / end - 1), '+.0f')} %"
        if last < bottom:
            _label_exit(panel, line, bottom, f"{text}\n(to {_signed(last, '.1f')}) ↓", colour)
        else:
            labels.append((last, text, colour))
    panel.plot(truth.index, truth, color="black", linewidth=2.6, marker="o", markersize=4)
    if panel.get_ylim()[0] < bottom:
        panel.set_ylim(bottom, -0.05 * bottom)
    panel.set_xlim(0, truth.index[-1])
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
