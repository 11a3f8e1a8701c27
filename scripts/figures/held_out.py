"""LCA on training text and on held-out text, per layer (Lan et al. 2019, section 4.3)."""

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from closer_look.analysis.frames import read
from closer_look.drawing import layers
from closer_look.drawing.style import COLOURS, lighter, objectives, save, say_empty
from closer_look.jobs.job import job
from closer_look.vocabulary import ATTENTION, FEED_FORWARD, OBJECTIVE_NAMES, UNIT

GROUPS = {
    "Attention (K, Q, V, out)": ATTENTION,
    "Feed-forward (W1, W2)": FEED_FORWARD,
}
SETS = {"train": "training text", "held_out": "held-out text"}


def draw(probes: pd.DataFrame) -> Figure:
    """Draw the mean contribution, -LCA, of each layer to a probed update, on either set of batches.

    `probes` is the table of this name, of one run for each objective. An objective without data is
    left out.
    """
    shown = objectives(probes)
    figure, axes = plt.subplots(
        *(len(GROUPS), max(1, len(shown))),
        figsize=(3.5 * max(1, len(shown)) + 0.5, 4.6),
        squeeze=False,
    )
    for panels, objective in zip(axes.T, shown, strict=False):
        panels[0].set_title(OBJECTIVE_NAMES[objective])
        rows = probes[(probes["objective"] == objective) & (probes["layer"] > 0)]
        for panel, components in zip(panels, GROUPS.values(), strict=True):
            _draw(panel, rows[rows["component"].isin(components)], COLOURS[objective])
    if not shown:
        for panel in axes.flat:
            say_empty(panel, "no update was probed")
    for panel, group in zip(axes[:, 0], GROUPS, strict=True):
        panel.set_ylabel(group, fontweight="bold")
    figure.align_ylabels(axes[:, 0])
    figure.supxlabel("Layer", fontsize=8)
    figure.supylabel(f"Contribution, −LCA per update ({UNIT})", fontsize=8)
    figure.suptitle("LCA on training text and on held-out text, by the probe")
    return figure


def _draw(panel: Axes, rows: pd.DataFrame, colour: str) -> None:
    """Draw a pair of bars for each layer."""
    if rows.empty:
        say_empty(panel)
        return
    places = layers.places(rows)
    by_update = rows.groupby(["set", "update", "stack", "layer"])["lca"].sum()
    means = -by_update.groupby(["set", "stack", "layer"]).mean().unstack("set").reindex(places)
    for offset, (name, label), shade in zip(
        (-0.2, 0.2), SETS.items(), (colour, lighter(colour)), strict=True
    ):
        positions = [position + offset for position in range(len(places))]
        heights, label = (means[name], label) if name in means else (0, f"no {label}")
        panel.bar(positions, heights, 0.4, color=shade, label=label)
    panel.legend()
    layers.label(panel.xaxis, places)
    layers.name_stacks(panel, places)
    panel.tick_params(axis="x", length=0)
    panel.axhline(0, color="black", linewidth=0.6)


if __name__ == "__main__":
    with job(snakemake):
        save(draw(read(snakemake.input.probes)), *snakemake.output)
