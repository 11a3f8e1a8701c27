"""Figure 3: the contribution of every attention head, summed over training."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from closer_look.analysis.frames import read
from closer_look.drawing import layers
from closer_look.drawing.style import ESTIMATORS, objectives, save, say_empty, signed
from closer_look.jobs.job import job
from closer_look.vocabulary import ATTENTION, COMPONENT_NAMES, OBJECTIVE_NAMES

COLOURS = LinearSegmentedColormap.from_list(
    "green to violet", ["#dcf2cd", "#6cc08b", "#2f7f8e", "#3e4a89", "#35084f"]
)
"""Light green to dark violet, as in the paper."""


def draw(totals: pd.DataFrame, estimator: str = "own_batch") -> Figure:
    """Draw a heat map, layers by heads, for each objective and matrix of self-attention.

    `totals` as of `lca.analysis.totals`, of this estimator and of one run for each objective, with
    the column `objective`. Contributions, -LCA, are normalised over the whole heat map, from its
    smallest (0) to its largest (1). In translation the encoder's layers come first. An objective
    without data is left out.
    """
    shown = objectives(totals)
    figure, axes = plt.subplots(
        len(shown), len(ATTENTION), figsize=(8, 2.4 * len(shown) + 0.5), squeeze=False
    )
    for row, objective in zip(axes, shown, strict=True):
        of_objective = totals[(totals["objective"] == objective) & (totals["head"] > 0)]
        for panel, component in zip(row, ATTENTION, strict=True):
            _draw(panel, of_objective[of_objective["component"] == component])
        row[0].set_ylabel(OBJECTIVE_NAMES[objective], fontweight="bold", labelpad=14)
    for panel, component in zip(axes[0], ATTENTION, strict=True):
        panel.set_title(COMPONENT_NAMES[component])
    figure.supxlabel("Head", fontsize=8)
    figure.supylabel("Layer", fontsize=8)
    bar = figure.colorbar(ScalarMappable(cmap=COLOURS), ax=axes, aspect=40, pad=0.02)
    bar.set_label("Contribution, −ΣLCA, from each map's smallest (0) to its largest (1)")
    bar.outline.set_visible(False)
    figure.align_ylabels(axes[:, 0])
    figure.suptitle(f"LCA of the attention heads, {ESTIMATORS[estimator]} estimator")
    return figure


def _draw(panel: Axes, heads: pd.DataFrame) -> None:
    """Draw one heat map, the first layer at the top; under it, its smallest and largest value."""
    if heads.empty:
        say_empty(panel, "no heads")
        return
    places = layers.places(heads)
    values = -heads.pivot_table("lca", ["stack", "layer"], "head").loc[places]
    panel.imshow(values, cmap=COLOURS, aspect="auto")
    layers.number(panel.xaxis, list(values.columns))
    layers.label(panel.yaxis, places, most_digits=20)
    layers.name_stacks(panel, places, vertical=True)
    for border in layers.borders(places):
        panel.axhline(border, color="white", linewidth=2)
    low, high = (signed(value, ".2g") for value in (values.min(axis=None), values.max(axis=None)))
    panel.set_xlabel(f"{low} to {high}", fontsize=6)
    panel.tick_params(length=0)
    panel.grid(False)
    panel.spines[:].set_visible(False)


if __name__ == "__main__":
    with job(snakemake):
        estimator = snakemake.params.estimator
        totals = read(snakemake.input.totals, estimator)
        save(draw(totals, estimator), *snakemake.output)
