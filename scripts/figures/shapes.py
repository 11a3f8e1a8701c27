"""The shapes over the layers in every variant: figure 1 without magnitudes, a line for each."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from closer_look.analysis.frames import read
from closer_look.drawing import layers
from closer_look.drawing.bars import contributions
from closer_look.drawing.style import ESTIMATORS, draw_band, objectives, save, say_empty
from closer_look.jobs.job import job
from closer_look.vocabulary import COMPONENT_NAMES, MODEL, OBJECTIVE_NAMES

COLOURS = ("black", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Of the variants: told apart with any colour vision (Okabe & Ito)."""


def draw(totals: pd.DataFrame, main: Mapping[str, Sequence[str]], estimator: str) -> Figure:
    """Draw a row of panels for each objective, a column for each component, in it the variants.

    A line is the contribution, -LCA, of each layer in units of its mean magnitude over the layers,
    in a band of its interval of 95 %; of several seeds it is the mean, in a band from the smallest
    to the largest. `main` has the runs of each variant, as CORPUS/OBJECTIVE/LANGUAGES/VARIANT; a
    model that stands for several variants is drawn once. `totals` as of `lca.analysis.totals`, of
    this estimator.
    """
    blocks = totals[totals["head"] == 0]
    blocks = blocks.assign(model=blocks[MODEL].agg("/".join, axis="columns"))
    shown = objectives(blocks)
    figure, axes = plt.subplots(
        *(len(shown), len(COMPONENT_NAMES)),
        figsize=(11, 1.9 * len(shown) + 0.9),
        sharex="row",
        squeeze=False,
    )
    colours = {variant: COLOURS[number % len(COLOURS)] for number, variant in enumerate(main)}
    for row, objective in zip(axes, shown, strict=True):
        of_objective = blocks[blocks["objective"] == objective]
        by_model = {
            name: colours[variant] for name, variant in _first_variants(main, objective).items()
        }
        for panel, component in zip(row, COMPONENT_NAMES, strict=True):
            _draw(panel, of_objective[of_objective["component"] == component], by_model)
        row[0].set_ylabel(OBJECTIVE_NAMES[objective], fontweight="bold")
    for panel, heading in zip(axes[0], COMPONENT_NAMES.values(), strict=True):
        panel.set_title(heading)
    handles = [Line2D([], [], color=colours[variant], label=variant) for variant in main]
    figure.legend(handles=handles, loc="outside right center")
    figure.supxlabel("Layer", fontsize=8)
    figure.supylabel("Contribution, −ΣLCA, over the mean magnitude of the layers", fontsize=8)
    figure.suptitle(f"Shapes over the layers by variant, {ESTIMATORS[estimator]} estimator")
    return figure


def _first_variants(main: Mapping[str, Sequence[str]], objective: str) -> dict[str, str]:
    """Return the models of an objective with the first variant that each stands for."""
    variants: dict[str, str] = {}
    for variant, models in main.items():
        for name in (name for name in models if name.split("/")[1] == objective):
            variants.setdefault(name, variant)
    return variants


def _draw(panel: Axes, totals: pd.DataFrame, colours: Mapping[str, str]) -> None:
    """Draw one component of an objective's models, whose `colours` are by their names."""
    for name, colour in colours.items():
        _draw_line(panel, totals[totals["model"] == name], colour)
    if panel.lines:
        panel.axhline(0, color="black", linewidth=0.6, zorder=0)
    else:
        say_empty(panel)


def _draw_line(panel: Axes, totals: pd.DataFrame, colour: str) -> None:
    """Draw one component of one model: a line for each stack."""
    if totals.empty:
        return
    places = layers.places(totals)
    line = contributions(totals).loc[places]
    line = line / line["mean"].abs().mean()
    positions = pd.Series(range(len(places)), places)
    for stack in places.get_level_values("stack").unique():
        of_stack, at = line.loc[stack], positions[stack]
        panel.plot(at, of_stack["mean"], color=colour, marker="o", markersize=2)
        draw_band(panel, at, of_stack["low"], of_stack["high"], colour)
    layers.label(panel.xaxis, places)
    layers.name_stacks(panel, places)
    panel.tick_params(axis="x", length=0, pad=2, labelsize=5.5)


if __name__ == "__main__":
    with job(snakemake):
        estimator = snakemake.params.estimator
        totals = read(snakemake.input.totals, estimator)
        save(draw(totals, snakemake.params.main, estimator), *snakemake.output)
