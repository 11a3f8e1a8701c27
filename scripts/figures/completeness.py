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
    draw_band,
    objectives,
    save,
    say_empty,
    signed,
)
from closer_look.jobs.job import job
from closer_look.vocabulary import OBJECTIVE_NAMES, UNIT
from lca.analysis.completeness import REFERENCES
from lca.analysis.uncertainty import INTERVAL, percent, ratio_error

COLUMNS = ["objective", "seed", "estimator", "update", "sum"]

ROOM = 1.6
"""How far panels reach down, in multiples of the true change; upward they reach one less. What
goes beyond only leaves the panel."""

LINE_HEIGHT = 0.065  # of a label, as a share of the panel's height


def draw(completeness: pd.DataFrame, curves: pd.DataFrame) -> Figure:
    """Draw a panel for each objective: the true change of the loss, and each estimator's sum.

    The arguments are as of `lca.analysis.completeness` and `lca.analysis.curves`, of one run for
    each objective. A line is in a band, its interval of 95 %; of several seeds it is the mean, and
    the band goes from the smallest to the largest. At a line's end stands what share of the true
    change the sum is, with the standard error, of several seeds that of one. An objective that was
    not probed is left out.
    """
    completeness = completeness[completeness["estimator"].isin(curves["estimator"])]
    shown = objectives(completeness)
    panels = max(1, len(shown))
    figure, axes = plt.subplots(1, panels, figsize=(max(6, 4.3 * panels), 3.3), squeeze=False)
    for panel, objective in zip(axes[0], shown, strict=False):
        rows, of_curves = (
            frame[frame["objective"] == objective] for frame in (completeness, curves)
        )
        reference = next(name for name in REFERENCES if name in set(rows["reference"]))
        _draw(panel, rows[rows["reference"] == reference], of_curves)
        panel.set(title=OBJECTIVE_NAMES[objective], xlabel="Update")
    if not shown:
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
    truth = _interval(rows.drop_duplicates(["seed", "update"]), "change")
    end, last_update = truth["mean"].iloc[-1], truth.index[-1]
    seeds = pd.concat([cumulative(of_seed) for _, of_seed in curves.groupby("seed")])
    seeds = seeds.loc[seeds.index <= last_update, [name for name in ESTIMATORS if name in seeds]]
    bottom, top = -ROOM * abs(end), (ROOM - 1) * abs(end)
    shown = seeds.groupby(level="update").mean()
    _set_limits(panel, pd.concat([shown.clip(bottom, top), truth["mean"]]))
    labels = [(end, _change_label(rows), "black")]
    for estimator, line in shown.items():
        colour, last = ESTIMATOR_COLOURS[estimator], line.iloc[-1]
        panel.plot(line.index, line, color=colour, linewidth=2)
        of_estimator = rows[rows["estimator"] == estimator]
        band = _interval(of_estimator, "lca")
        draw_band(panel, band.index, band["low"], band["high"], colour)
        text = f"{ESTIMATORS[estimator]} {_share(of_estimator)}"
        if bottom <= last <= top:
            labels.append((last, text, colour))
        else:
            text = f"{text}\n(to {signed(last, '.1f')}) {'↓' if last < bottom else '↑'}"
            _label_exit(panel, line, text, colour)
    panel.plot(truth.index, truth["mean"], color="black", linewidth=2.6, marker="o", markersize=4)
    draw_band(panel, truth.index, truth["low"], truth["high"], "black")
    panel.set_xlim(0, last_update)
    _label_ends(panel, labels)


def _interval(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    """Return the mean, low and high of a column by update: over the seeds, or by its error."""
    seeds = rows.groupby("update")[column].agg(["mean", "min", "max"])
    if rows["seed"].nunique() > 1:
        return seeds.rename(columns={"min": "low", "max": "high"})
    half = INTERVAL * rows.set_index("update")[f"{column}_se"]
    return seeds.assign(low=seeds["mean"] - half, high=seeds["mean"] + half)


def _share(rows: pd.DataFrame) -> str:
    """Return what share of the true change an estimator's sum is in the end, as text."""
    ends = rows[rows["update"] == rows["update"].max()]
    errors = ratio_error(ends["lca"], ends["change"], ends["lca_se"], ends["change_se"])
    return percent((ends["lca"] / ends["change"]).mean(), _typical(errors))


def _change_label(rows: pd.DataFrame) -> str:
    """Return the true change in the end, as text."""
    ends = rows[rows["update"] == rows["update"].max()].drop_duplicates("seed")
    error = _typical(ends["change_se"])
    text = f"loss {signed(ends['change'].mean(), '.2f')}"
    return text if np.isnan(error) else f"{text} ± {error:.2f}"


def _typical(errors: pd.Series) -> float:
    """Return the error of one seed: the root of the mean square, NaN if one is unknown."""
    return float(np.sqrt((errors**2).mean(skipna=False)))


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
