"""Whether the estimators find what the probe finds: estimate against truth, block by block."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from closer_look.analysis.agreement import of_cells, summary, table
from closer_look.analysis.frames import read
from closer_look.analysis.tables import write
from closer_look.drawing.style import ESTIMATORS, objectives, save, say_empty, signed
from closer_look.jobs.job import job
from closer_look.vocabulary import COMPONENT_NAMES, FACETS, OBJECTIVE_NAMES, UNIT

CAPTION = (
    "How far the estimators agree with the probe, which integrates every update on fixed training "
    "text, over the blocks and over the attention heads. Ratio: of the sums. Distance: the share "
    "of the whole that is allocated to the wrong cells, half the summed absolute differences of "
    "the cells' shares. Slope: through the origin. Rank: Spearman's correlation. From low to high: "
    "95 % intervals by a bootstrap of blocks of updates. Chance: the distance that noise alone "
    "would make on average. Held-out: a second probe, on other text."
)


def first_of_each_objective(agreement: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the first run of each objective."""
    first = agreement[FACETS].drop_duplicates("objective")
    return agreement.merge(first, on=FACETS)


COLUMNS = {name: label for name, label in ESTIMATORS.items() if name != "probe"}
COLUMNS |= {"held_out": "second probe, held-out text"}
"""What is compared with the probe on training text."""

GROUPS = {
    **{name: (label, (name, f"cross_{name}")) for name, label in COMPONENT_NAMES.items()},
    "embeddings": ("Embeddings", ("embeddings", "positions")),
    "output": ("Output", ("output",)),
}
OTHERS = "Norms, biases"
COLOURS = dict(
    key="#56b4e9",
    query="#0072b2",
    value="#009e73",
    out="#cc79a7",
    w1="#e69f00",
    w2="#d55e00",
    embeddings="black",
    output="#8c510a",
)
"""Of the groups: told apart with any colour vision (Okabe & Ito), but for the last."""

SIZES = {"head": 4, "block": 16}
LINEAR = 1e-4
"""The share of the largest contribution below which the axes are linear."""


def draw(agreement: pd.DataFrame) -> Figure:
    """Draw a row for each objective and a column for each estimator, in it a point for each block.

    `agreement` is the table of this name, of one run for each objective. Small points are heads;
    the bars of the blocks are two standard errors each way, of the estimate less the truth.
    """
    shown = objectives(agreement)
    names = [name for name in COLUMNS if name in set(agreement["estimator"])]
    figure, axes = plt.subplots(
        *(max(1, len(shown)), max(1, len(names))),
        figsize=(2.5 * max(1, len(names)) + 1.7, 2.5 * max(1, len(shown)) + 0.7),
        sharex="row",
        sharey="row",
        squeeze=False,
    )
    for row, objective in zip(axes, shown, strict=False):
        run = agreement[agreement["objective"] == objective]
        cells, scores = of_cells(run), summary(run).set_index(["estimator", "level"])
        for panel, name in zip(row, names, strict=True):
            if name in scores.index:
                _draw(panel, cells[cells["estimator"] == name])
                _write(panel, scores.loc[name])
        _scale(row, cells)
        row[0].set_ylabel(OBJECTIVE_NAMES[objective], fontweight="bold")
    for panel, name in zip(axes[0], names, strict=False):
        panel.set_title(COLUMNS[name])
    if not shown:
        say_empty(axes[0, 0], "no run was probed at every update")
    figure.supxlabel(f"Contribution by the probe on training text, −LCA ({UNIT})", fontsize=8)
    figure.supylabel(f"Contribution by the estimator ({UNIT})", fontsize=8)
    figure.legend(handles=_legend(), loc="outside right center")
    figure.suptitle("Do the estimators find the right blocks? Each block and head over a training")
    return figure


def _draw(panel: Axes, cells: pd.DataFrame) -> None:
    """Draw the blocks and heads of one run by one estimator, and the line where both agree."""
    panel.axline((0, 0), slope=1, color="0.6", linewidth=0.8, zorder=1)
    for level, size in SIZES.items():
        rows = cells[cells["level"] == level]
        colours = rows["component"].map(_colour)
        crosses = rows["component"].str.startswith("cross_")
        for marker, chosen in (("o", ~crosses), ("D", crosses)):
            panel.scatter(
                *(-rows["truth"][chosen], -rows["lca"][chosen]),
                s=size * (0.7 if marker == "D" else 1),
                c=colours[chosen],
                marker=marker,
                alpha=0.45 if level == "head" else 1,
                linewidths=0,
                zorder=2 if level == "head" else 4,
            )
    blocks = cells[cells["level"] == "block"]
    panel.errorbar(
        *(-blocks["truth"], -blocks["lca"], 2 * blocks["error"]),
        fmt="none",
        ecolor="0.4",
        elinewidth=0.6,
        zorder=3,
    )


def _scale(row: np.ndarray, cells: pd.DataFrame) -> None:
    """Give the panels of a row one scale for both axes: logarithmic, but linear about zero."""
    values = -cells[["lca", "truth"]].to_numpy()
    most, least = values.max(), min(0, values.min())
    linear = LINEAR * most
    decades = 10.0 ** np.arange(np.ceil(np.log10(3 * linear)), np.log10(2 * most))
    ticks = [*(-decade for decade in decades if decade < -least), 0, *decades]
    limits = 1.5 * least - linear / 2, 2 * most
    for panel in row:
        panel.set_xscale("symlog", linthresh=linear, linscale=0.5)
        panel.set_yscale("symlog", linthresh=linear, linscale=0.5)
        panel.set(xticks=ticks, yticks=ticks, xlim=limits, ylim=limits)
        panel.minorticks_off()
        panel.grid(True, axis="both")


def _write(panel: Axes, scores: pd.DataFrame) -> None:
    """Write into the panel how well the estimator agrees."""
    block = scores.loc["block"]
    lines = [f"sum {_percent(block, 'ratio', '.0f')}"]
    lines += [
        f"{level}s misplaced {_percent(scores.loc[level], 'distance', '.1f')}"
        for level in scores.index
    ]
    lines.append(f"slope {signed(block['slope'], '.2f')}, rank {signed(block['rank'], '.2f')}")
    panel.text(
        *(0.98, 0.03, "\n".join(lines)),
        ha="right",
        va="bottom",
        fontsize=6,
        linespacing=1.3,
        transform=panel.transAxes,
        bbox=dict(facecolor="white", edgecolor="none", alpha=0.8, pad=1),
        zorder=5,
    )


def _percent(scores: pd.Series, name: str, style: str) -> str:
    """Return a share with its interval, such as "1.2 % (0.8–1.6)"."""
    ends = (scores[f"{name}{end}"] for end in ("", "_low", "_high"))
    value, low, high = (signed(100 * end, style) for end in ends)
    return f"{value} % ({low}–{high})"


def _colour(component: str) -> str:
    """Return the colour of the group of a component."""
    groups = (name for name, (_, members) in GROUPS.items() if component in members)
    return COLOURS.get(next(groups, None), "0.6")


def _legend() -> list[Line2D]:
    """Return what explains colours, sizes and shapes."""

    def point(label: str, colour: str, size: float, marker: str = "o") -> Line2D:
        return Line2D(
            [], [], color=colour, marker=marker, markersize=size, linestyle="none", label=label
        )

    handles = [point(label, COLOURS[name], 4) for name, (label, _) in GROUPS.items()]
    handles += [point(OTHERS, "0.6", 4), point("attention to\nthe encoder", "0.3", 3.5, "D")]
    return [*handles, point("a head", "0.6", 2), Line2D([], [], color="0.6", label="agreement")]


if __name__ == "__main__":
    with job(snakemake):
        agreement, output = read(snakemake.input.agreement), dict(snakemake.output.items())
        save(draw(first_of_each_objective(agreement)), output.pop("pdf"), output.pop("png"))
        write(table(agreement), CAPTION, **output)
