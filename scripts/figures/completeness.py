"""Whether the contributions add up: the summed LCA of every estimator against the true change."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from closer_look.analysis.frames import read
from closer_look.drawing.style import (
    ESTIMATOR_COLOURS,
    ESTIMATORS,
    OBJECTIVES,
    UNIT,
    draw_band,
    objectives,
    save,
    say_empty,
    signed,
)
from closer_look.jobs.job import job

COLUMNS = ["objective", "seed", "estimator", "update", "sum"]


REFERENCES = ("dropout", "train", "held_out")
"""What the true loss may have been measured on, the best first: with dropout, as in training."""

ROOM = 1.6
"""How far panels reach down, in multiples of the true change; upward they reach one less. What
goes beyond only leaves the panel."""

LINE_HEIGHT = 0.065  # of a label, as a share of the panel's height


def draw(completeness: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Draw a panel for each objective: the true change of the loss, and each estimator's sum.

    The arguments are as of `lca.analysis.completeness` and `lca.analysis.curves`, of one run for
    each objective; of several seeds a line is the mean, in a band from the smallest to the largest.
    At a line's end stands by how much the sum misses the true change, relative to it. An objective
    that was not probed is left out.
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
        _draw(panel, rows[rows["reference"] == reference], of_curves)
        panel.set(title=OBJECTIVES[objective], xlabel="Update")
    if not found:
        say_empty(axes[0, 0], "no update was probed")
    axes[0, 0].set_ylabel(f"Change of the loss\n({UNIT})")
    figure.suptitle("Do the contributions add up? Summed LCA and how the loss really changed")
    return figure


def cumulative(curves: pd.DataFrame) -> pd.DataFrame:
    """Return the LCA of all blocks of one seed summed up to each update, a column per estimator."""
    means = curves.astype({"sum": float}).pivot_table("sum", "update", "estimator", aggfunc="sum")
    sums = means.mul(np.diff(means.index, prepend=0), axis="index").cumsum()
    return pd.concat([pd.DataFrame(0.0, [0], sums.columns), sums]).rename_axis("update")


def _draw(panel: Axes, rows: pd.DataFrame, curves: pd.DataFrame) -> None:
    """Draw one run, as far as the true change is known."""
    by_update = rows.drop_duplicates(["seed", "update"]).groupby("update")["change"]
    truth = by_update.mean()
    end, last_update = truth.iloc[-1], truth.index[-1]
    seeds = pd.concat([cumulative(of_seed) for _, of_seed in curves.groupby("seed")])
    seeds = seeds.loc[seeds.index <= last_update, [name for name in ESTIMATORS if name in seeds]]
    sums = seeds.groupby(level="update")
    bottom, top = -ROOM * abs(end), (ROOM - 1) * abs(end)
    shown, low, high = sums.mean(), sums.min(), sums.max()
    _set_limits(panel, pd.concat([shown.clip(bottom, top), truth]))
    labels = [(end, f"loss {signed(end, '.2f')}", "black")]
    for estimator, line in shown.items():
        colour, last = ESTIMATOR_COLOURS[estimator], line.iloc[-1]
        panel.plot(line.index, line, color=colour, linewidth=2)
        draw_band(panel, line.index, low[estimator], high[estimator], colour)
        text = f"{ESTIMATORS[estimator]} {signed(100 * (last / end - 1), '+.0f')} %"
        if bottom <= last <= top:
            labels.append((last, text, colour))
        else:
            text = f"{text}\n(to {signed(last, '.1f')}) {'↓' if last < bottom else '↑'}"
            _label_exit(panel, line, text, colour)
    panel.plot(truth.index, truth, color="black", linewidth=2.6, marker="o", markersize=4)
    draw_band(panel, truth.index, by_update.min(), by_update.max(), "black")
    panel.set_xlim(0, last_update)
    _label_ends(panel, labels)


def _set_limits(panel: Axes, shown: pd.DataFrame) -> None:
    """Fix the y axis so that it holds what is shown."""
    low, high = shown.min(axis=None), shown.max(axis=None)
    margin = 0.04 * (high - low)
    panel.set_ylim(low - margin, high + margin)


def _label_exit(panel: Axes, line: pd.Series, text: str, colour: str) -> None:
    """Label a line right of where it leaves the panel for good."""
    bottom, top = panel.get_ylim()
    edge, is_inside = (bottom, line > bottom) if line.iloc[-1] < bottom else (top, line < top)
    panel.annotate(
        text,
        (line.index[is_inside][-1], edge),
        (7, 4 if edge == bottom else -4),
        textcoords="offset points",
        va="bottom" if edge == bottom else "top",
        color=colour,
        fontweight="bold",
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


if __name__ == "__main__":
    with job(snakemake):
        curves = read(snakemake.input.curves, columns=COLUMNS)
        save(draw(read(snakemake.input.completeness), curves), *snakemake.output)
