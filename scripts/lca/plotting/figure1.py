"""Figure 1: LCA summed over training, per layer and component, for each objective."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .style import COLOURS, COMPONENTS, ESTIMATORS, OBJECTIVES, lighter

SHARED_SCALES = (("key", "query"), ("value", "out"), ("w1", "w2"))
"""Components that work as one have one scale; between these pairs magnitudes differ too much."""


def draw(totals: pd.DataFrame, estimator: str = "own_batch") -> Figure:
    """Draw the bars of one run for each objective.

    `totals` as of `lca.analysis.totals`, with a column `objective`. The bars are contributions,
    -LCA in nats per predicted token: a fall of the loss points upward. In translation the layers
    of the encoder come first, in a lighter shade. An objective without data is left out.
    """
    bars = totals[(totals["estimator"] == estimator) & (totals["head"] == 0)]
    objectives = [objective for objective in OBJECTIVES if objective in set(bars["objective"])]
    figure, axes = plt.subplots(
        len(objectives), len(COMPONENTS), figsize=(11, 1.9 * len(objectives) + 0.4), squeeze=False
    )
    for row, objective in zip(axes, objectives, strict=True):
        of_objective = bars[bars["objective"] == objective]
        panels = dict(zip(COMPONENTS, row, strict=True))
        for component, panel in panels.items():
            _bars(panel, of_objective[of_objective["component"] == component], objective)
        for group in SHARED_SCALES:
            _share_scale([panels[component] for component in group])
        row[0].set_ylabel(OBJECTIVES[objective], fontweight="bold")
    for panel, title in zip(axes[0], COMPONENTS.values(), strict=True):
        panel.set_title(title)
    figure.supxlabel("Layer", fontsize=8)
    figure.supylabel("Contribution, −ΣLCA (nats per predicted token)", fontsize=8)
    figure.suptitle(f"LCA summed over training ({ESTIMATORS[estimator]} estimator)", fontsize=10)
    return figure


def _bars(panel: Axes, bars: pd.DataFrame, objective: str) -> None:
    """Draw one panel: a bar for each layer, the encoder's before the decoder's."""
    if bars.empty:
        panel.text(0.5, 0.5, "no data", ha="center", va="center", transform=panel.transAxes)
        return
    bars = bars.sort_values(["stack", "layer"], key=_stack_order)
    has_two_stacks = bars["stack"].nunique() > 1
    colours = [
        lighter(COLOURS[objective]) if has_two_stacks and stack == "encoder" else COLOURS[objective]
        for stack in bars["stack"]
    ]
    panel.bar(range(len(bars)), -bars["lca"], color=colours, width=0.8)
    panel.set_xticks(range(len(bars)), bars["layer"], fontsize=5.5)
    panel.tick_params(axis="x", length=0, pad=2)
    if has_two_stacks:
        for stack, positions in bars.reset_index().groupby("stack").groups.items():
            panel.annotate(
                stack,
                (positions.to_numpy().mean(), 0),
                (0, -16),
                xycoords=("data", "axes fraction"),
                textcoords="offset points",
                ha="center",
                fontsize=6.5,
            )
    panel.axhline(0, color="black", linewidth=0.6)


def _stack_order(column: pd.Series) -> pd.Series:
    return column.map({"encoder": 0, "decoder": 1}) if column.name == "stack" else column


def _share_scale(panels: list[Axes]) -> None:
    """Give the panels the y axis that holds them all."""
    limits = [panel.get_ylim() for panel in panels]
    for panel in panels:
        panel.set_ylim(min(low for low, _ in limits), max(high for _, high in limits))
